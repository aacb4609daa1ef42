"""A reproduced run is identical, or the first difference is named."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cvbundle.bundle.difference import Change
from cvbundle.bundle.run import Run
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.execution.reproduce import recorded_run, reproduce
from cvbundle.execution.run_comparison import compare_runs
from cvbundle.problems import UserError

_DRIFT = {"package": "numpy", "locked": "2.4.6", "installed": "2.4.7"}


def _run(folder: Path, losses: list[float], **record: Any) -> Run:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"status": "complete", **record}))
    rows = [{"loss": loss, "step": step} for step, loss in enumerate(losses, 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(folder)


def test_equal_steps_and_files_are_identical(tmp_path: Path) -> None:
    runs = [_run(tmp_path / name, [3, 2, 1], digests={"w": "0"}) for name in ("1", "2")]
    comparison = compare_runs(*runs)
    assert comparison.identical
    assert comparison.steps == 3


def test_the_first_step_that_differs_is_named(tmp_path: Path) -> None:
    comparison = compare_runs(_run(tmp_path / "1", [3, 2, 1]), _run(tmp_path / "2", [3, 2.5, 1.5]))
    assert not comparison.identical
    assert comparison.first is not None
    assert (comparison.steps, comparison.first.step) == (1, 2)
    assert (comparison.first.recorded, comparison.first.reproduced) == ({"loss": 2}, {"loss": 2.5})


def test_a_run_that_ends_earlier_differs_at_the_step_that_it_lacks(tmp_path: Path) -> None:
    comparison = compare_runs(_run(tmp_path / "1", [3, 2]), _run(tmp_path / "2", [3]))
    assert comparison.first is not None
    assert (comparison.first.step, comparison.first.reproduced) == (2, {})


def test_another_result_after_equal_steps_differs(tmp_path: Path) -> None:
    one = _run(tmp_path / "1", [3], digests={"adapter/w": "0"})
    comparison = compare_runs(one, _run(tmp_path / "2", [3], digests={"adapter/w": "1"}))
    assert comparison.first is None
    assert not comparison.identical
    assert comparison.files == (Change("adapter/w", "0", "1"),)


def test_packages_and_devices_that_differ_are_named(tmp_path: Path) -> None:
    locked = {"numpy": "2.4.6", "torch": "2.13.0"}
    first = {"device": "cuda", "device_name": "H100", "packages": locked, "drift": []}
    second = first | {"device_name": "H200", "drift": [_DRIFT]}
    comparison = compare_runs(
        _run(tmp_path / "1", [3], attempts=[first]), _run(tmp_path / "2", [3], attempts=[second])
    )
    assert set(comparison.conditions) == {
        Change("device name", "H100", "H200"),
        Change("numpy", "2.4.6", "2.4.7"),
    }


def test_the_run_to_reproduce_must_be_complete(compiled: Compiled) -> None:
    bundle = compiled.bundle
    with pytest.raises(UserError, match="has no complete run"):
        recorded_run(bundle, None)
    _run(bundle.folder / "runs/0001", [1])
    _run(bundle.folder / "runs/0002", [1], **{"status": "stopped"})
    assert recorded_run(bundle, None).folder.name == "0001"
    with pytest.raises(UserError, match="run 0002 is stopped"):
        recorded_run(bundle, 2)
    with pytest.raises(UserError, match="there are: 0001, 0002"):
        recorded_run(bundle, 3)


def test_a_changed_clip_is_named_before_training(
    compiled: Compiled, own_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", str(own_demo / "data"))
    (own_demo / "data/videos/red_right.mp4").write_text("another")
    _run(compiled.bundle.folder / "runs/0001", [1])
    with pytest.raises(UserError, match=r"red_right\.mp4 has 7 bytes"):
        reproduce(compiled.bundle)
    assert not (compiled.bundle.folder / "runs/0002").exists()


def test_drift_is_named_before_training(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = tmp_path / "packages/tqdm-99.9.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: tqdm\nVersion: 99.9\n")
    monkeypatch.syspath_prepend(described.parent)
    _run(compiled.bundle.folder / "runs/0001", [1])
    with pytest.raises(UserError, match=r"tqdm: 99\.9 instead of .*--allow-drift"):
        reproduce(compiled.bundle)


def _cvbundle(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.train
def test_the_demo_is_reproduced_until_the_latents_of_a_clip_are_changed(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CVBUNDLE_CACHE", str(cache))
    settings = ["training.steps=6", "validation=null", "tracking.report_to=[]"]
    settings += ["lr_scheduler.warmup_steps=0", "checkpointing.steps=6"]
    bundle = compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings).only.bundle
    assert _cvbundle("run", bundle).returncode == 0

    again = _cvbundle("reproduce", bundle)
    assert again.returncode == 0, again.stderr
    assert "identical: run 0002 and run 0001, all 6 steps" in again.stdout

    _change_latents(cache / "encodings")
    changed = _cvbundle("reproduce", bundle, "--run", 1, "--json")
    assert changed.returncode == 1, changed.stderr
    data = json.loads(changed.stdout)
    assert data["identical"] is False
    # Each of the four clips is seen once in the first two steps, which are of two clips each.
    assert data["first_difference"]["step"] in (1, 2)
    assert data["first_difference"]["recorded"]["loss"] > 0
    assert [change["name"] for change in data["files"]] == [
        "adapter/pytorch_lora_weights.safetensors"
    ]
    assert data["circumstances"] == []


def _change_latents(encodings: Path) -> None:
    """Another clip's latents under the right digest: an entry that the cache has to believe."""
    from safetensors import safe_open

    from cvbundle.training.cache import EncodingCache

    for path in sorted(encodings.rglob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensor = file.get_tensor("encoding")
        if tensor.dim() == 4:
            EncodingCache(encodings).write(path.stem, tensor * 1.5)
            return


def test_losses_of_nondeterministic_runs_are_compared(tmp_path: Path) -> None:
    runs = [_run(tmp_path / "1", [2, 1]), _run(tmp_path / "2", [2, 1.25])]
    comparison = compare_runs(*runs, is_deterministic=False)
    assert not comparison.is_deterministic
    assert comparison.loss_apart == 0.25
    assert compare_runs(*runs).is_deterministic
