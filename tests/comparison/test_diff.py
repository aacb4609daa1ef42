"""Two bundles are compared by content."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.bundle.difference import Change
from cvbundle.comparison.diff import Comparison, compare
from cvbundle.comparison.operands import open_side
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.problems import UserError


def _compare(before: object, after: object, folder: Path) -> Comparison:
    sides = [open_side(str(s), folder / f"side{i}") for i, s in enumerate((before, after))]
    return compare(*sides)


def _diff(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvbundle.cli", "diff", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _with_run(bundle: Path, loss: float) -> None:
    run = bundle / "runs/0001"
    run.mkdir()
    record = {
        "status": "complete",
        "phases": {"train": 2.5, "load": 0.5},
        "digests": {"adapter/weights": f"{loss}" * 20},
    }
    (run / "run.json").write_text(json.dumps(record))
    rows = [{"step": 1, "loss": loss}, {"step": 2, "loss": loss + 1}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_bundle_its_archive_and_its_spec_are_the_same(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file)
    for other in (compiled.bundle, archive, demo / "spec.yaml"):
        assert _compare(compiled.bundle, other, tmp_path / "sides" / other.name).same


def test_settings_are_compared_field_by_field(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    settings = ["training.learning_rate=0.5", "lora.target_modules=[to_q]"]
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=settings).only.bundle
    comparison = _compare(compiled.bundle, other, tmp_path)
    assert not comparison.same
    assert [change.name for change in comparison.settings] == [
        "lora.target_modules",
        "training.learning_rate",
    ]
    assert comparison.settings[1].after == 0.5
    assert comparison.data.same
    assert (comparison.weights, comparison.packages, comparison.code, comparison.others) == (
        (),
        (),
        (),
        (),
    )


def test_data_and_weights_are_compared_by_content(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    videos = own_demo / "data/videos"
    shutil.copy(videos / "blue_down.mp4", videos / "red_right.mp4")
    prompts = own_demo / "data/prompts.txt"
    prompts.write_text(prompts.read_text().replace("white", "grey"))
    weights = own_demo / "model/vae/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    comparison = _compare(compiled.bundle, own_demo / "spec.yaml", tmp_path)
    assert {change.clip: change.kinds for change in comparison.data.changes} == {
        "videos/red_right.mp4": ("bytes",),
        "videos/white_up.mp4": ("caption",),
    }
    assert [change.name for change in comparison.weights] == [
        "vae/diffusion_pytorch_model.safetensors"
    ]
    assert not comparison.settings


def test_packages_code_and_other_files_are_compared(compiled: Compiled, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(compiled.bundle, other)
    for path in (other, *other.rglob("*")):
        path.chmod(0o755)
    lock = other / "requirements.txt"
    lock.write_text(lock.read_text().replace("torch==", "torch==1."))
    script = other / "launch.sh"
    script.write_text(script.read_text().replace("set -euo pipefail", "set -eu"))
    (other / "code/added.py").write_text("import this\n")
    (other / "skipped.jsonl").write_text("{}\n")
    comparison = _compare(compiled.bundle, other, tmp_path)
    (package,) = comparison.packages
    assert package.name == "torch"
    assert package.after == f"1.{package.before}"
    assert [change.name for change in comparison.code] == ["code/added.py", "launch.sh"]
    assert "+import this" in comparison.code[0].lines
    assert {"-set -euo pipefail", "+set -eu"} <= set(comparison.code[1].lines)
    assert [change.name for change in comparison.others] == ["skipped.jsonl"]
    assert comparison.others[0] == Change("skipped.jsonl", None, comparison.others[0].after)


def test_results_do_not_make_bundles_differ(compiled: Compiled, tmp_path: Path) -> None:
    other = tmp_path / "other" / compiled.bundle.name
    shutil.copytree(compiled.bundle, other)
    _with_run(compiled.bundle.folder, 0.25)
    _with_run(other, 0.5)
    shown = _diff(compiled.bundle, other)
    assert shown.returncode == 0, shown.stderr
    assert "the same bundle" in shown.stdout
    assert ["best", "loss", "0.25", "0.5"] in [line.split() for line in shown.stdout.splitlines()]
    data: dict[str, Any] = json.loads(_diff(compiled.bundle, other, "--json").stdout)
    assert data["same"]
    assert [result["final_loss"] for result in data["results"]] == [1.25, 1.5]
    assert [result["seconds"] for result in data["results"]] == [3.0, 3.0]


def test_differences_exit_with_1_in_a_fixed_order(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    settings = ["training.seed=1", 'data.caption_prefix="\\e[31m"']
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=settings).only.bundle
    shown = _diff(compiled.bundle, other)
    assert shown.returncode == 1
    assert "Traceback" not in shown.stderr
    # What a terminal would obey is not passed on.
    assert "\x1b" not in shown.stdout
    assert shown.stdout.index("training.seed") < shown.stdout.index("data: 4 -> 4 samples")
    data = json.loads(_diff(compiled.bundle, other, "--json").stdout)
    assert not data["same"]
    assert data["data"]["kinds"] == {"caption": 4}


def test_something_else_than_a_bundle_is_refused(compiled: Compiled, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match="neither a bundle, nor an archive, nor a spec"):
        _compare(compiled.bundle, tmp_path / "notes.txt", tmp_path)


def test_a_sweep_can_not_be_compared(compiled: Compiled, own_demo: Path, tmp_path: Path) -> None:
    spec = own_demo / "spec.yaml"
    spec.write_text(spec.read_text() + "\nsweep:\n  training.seed: [1, 2]\n")
    with pytest.raises(UserError, match="a sweep of 2 bundles"):
        _compare(compiled.bundle, spec, tmp_path)


def test_a_nondeterministic_bundle_is_named(demo: Path, tmp_path: Path) -> None:
    fast = compile_file(
        demo / "spec.yaml", tmp_path / "bundles", settings=["training.deterministic=false"]
    ).only.bundle
    comparison = _compare(demo / "spec.yaml", fast, tmp_path / "sides")
    assert comparison.not_deterministic == ("B",)
    assert Change("training.deterministic", True, False) in comparison.settings
    assert "training.deterministic is false in B" in _diff(demo / "spec.yaml", fast).stdout
