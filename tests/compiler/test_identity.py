"""A bundle's name depends on what determines the result, and on nothing else."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cvbundle
from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.problems import ProblemsFound, UserError
from tests.conftest import COMMIT


def _compile_elsewhere(demo: Path, out: Path, umask: int, **environment: str) -> str:
    """The last line of `cvbundle compile`, run as a process of its own."""
    command = [sys.executable, "-m", "cvbundle.cli", "compile", str(demo / "spec.yaml")]
    result = subprocess.run(
        [*command, "--out", str(out)],
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(result.stdout.splitlines()[-1]).name


def test_folder_umask_locale_time_zone_and_hash_seed_do_not_matter(
    demo: Path, own_demo: Path, tmp_path: Path
) -> None:
    here = _compile_elsewhere(demo, tmp_path / "a", 0o022, PYTHONHASHSEED="1", TZ="UTC")
    there = _compile_elsewhere(
        own_demo, tmp_path / "b", 0o077, PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C.UTF-8"
    )
    assert here == there


_RULE = """

@rule(
    "rule-of-a-test",
    Severity.WARNING,
    why="There are more rules than before.",
    source="tests/compiler/test_identity.py",
    reads=("training.steps",),
    good={"training.steps": 1000},
    bad={"training.steps": 2000},
)
def rule_of_a_test(subject: Subject) -> Iterator[Finding]:
    \"\"\"Nothing breaks it.\"\"\"
    yield from ()
"""


def test_help_texts_commands_rules_and_exports_change_no_name(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    """The same spec is compiled by a copy of cvbundle in which all of these are changed."""
    package, root = tmp_path / "cvbundle", Path(cvbundle.__file__).parent.parent
    for name in ("cvbundle", "templates"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, tmp_path / name, ignore=ignored)
    for path in (package / "spec/schema").glob("*.py"):
        source = path.read_text()
        reworded = re.sub(r'\babout\((\s*)"', r'about(\1"Reworded, at some length: ', source)
        path.write_text(reworded)
    # Longer texts move the line breaks of what is beside them.
    formatter = [sys.executable, "-m", "ruff", "format", "-q", "--isolated", "--line-length=100"]
    subprocess.run([*formatter, package / "spec/schema"], check=True)
    command = (package / "cli/verify.py").read_text()
    (package / "cli/examine.py").write_text(command.replace('"verify"', '"examine"'))
    with (package / "rules/schedule.py").open("a") as rules:
        rules.write(_RULE)
    with (package / "dataset/rules.py").open("a") as rules:
        rules.write(
            'CLIP_LOUD = _rule("clip-loud", Severity.WARNING, why="Loud.", source="ears")\n'
        )
    shutil.copy(package / "training/export.py", package / "training/export_elsewhere.py")
    with (package / "__init__.py").open("a") as library:
        library.write('\nANOTHER_NAME = "of the library"\n')
    there = {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    assert _compile_elsewhere(demo, tmp_path / "bundles", 0o022, **there) == compiled.bundle.name
    explained = [sys.executable, "-m", "cvbundle.cli", "explain", "rule-of-a-test"]
    subprocess.run(explained, env={**os.environ, **there}, check=True, capture_output=True)


def test_the_trainer_has_no_rules_no_texts_and_no_commands(compiled: Compiled) -> None:
    code = compiled.bundle.folder / "code/cvbundle"
    assert sorted(path.name for path in code.iterdir() if path.is_dir()) == [
        "bundle",
        "dataset",
        "files",
        "model",
        "processes",
        "spec",
        "training",
    ]
    words = [path for path in code.rglob("*.py") if path.stem in ("rules", "fields", "flow")]
    assert [*words, *(code / "spec").glob("text")] == []
    assert (code / "__init__.py").read_bytes() == b""
    fields = (code / "spec/schema/run.py").read_text()
    assert 'about("", None, local="CVBUNDLE_OUTPUT_DIR")' in fields


def test_the_name_is_the_digest_of_the_sums(compiled: Compiled) -> None:
    sums = (compiled.bundle.folder / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == compiled.digest
    assert compiled.bundle.name == compiled.digest[:16]


def test_sha256sum_verifies_a_bundle(compiled: Compiled) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=compiled.bundle,
        check=True,
    )


def test_the_sums_list_every_file_that_is_not_local_or_of_a_run(compiled: Compiled) -> None:
    listed = {
        line[66:] for line in (compiled.bundle.folder / "SHA256SUMS").read_text().splitlines()
    }
    present = {
        path.relative_to(compiled.bundle).as_posix()
        for path in compiled.bundle.folder.rglob("*")
        if path.is_file()
    }
    assert listed == {
        name
        for name in present
        if not name.startswith(("local/", "runs/")) and name != "SHA256SUMS"
    }


def test_config_compiled_again_is_the_same_bundle(compiled: Compiled, demo: Path) -> None:
    again = compile_file(
        compiled.bundle.folder / "config.json",
        compiled.bundle.folder.parent,
        data_root=demo / "data",
        model_path=str(demo / "model"),
    ).only
    assert again.digest == compiled.digest
    assert not again.created


def test_comments_layout_and_written_defaults_do_not_matter(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    spec = own_demo / "spec.yaml"
    text = spec.read_text().replace("steps: 20\n  batch_size: 2", "{steps}")
    text = text.replace("{steps}", "batch_size: 2   # two\n  seed: 42\n  steps: 20", 1)
    spec.write_text(f"# another comment\n{text}")
    assert compile_file(spec, tmp_path / "other").only.digest == compiled.digest


@pytest.mark.parametrize(
    ("setting", "section"),
    [
        ("training.learning_rate=0.002", "a setting"),
        ("data.frame_sampling=head", "which frames"),
        ("data.caption_prefix=sks ", "a caption"),
    ],
)
def test_what_determines_the_result_changes_the_name(
    setting: str, section: str, compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=[setting]).only
    assert other.digest != compiled.digest, section


def test_a_clip_of_other_bytes_changes_the_name(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    videos = own_demo / "data/videos"
    shutil.copy(videos / "blue_down.mp4", videos / "red_right.mp4")
    assert compile_file(own_demo / "spec.yaml", tmp_path / "other").only.digest != compiled.digest


def test_weights_of_other_bytes_change_the_name(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    weights = own_demo / "model/vae/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    assert compile_file(own_demo / "spec.yaml", tmp_path / "other").only.digest != compiled.digest


def test_where_runs_go_does_not_change_the_name(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    settings = [f"output.dir={tmp_path}/runs"]
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=settings).only
    assert other.digest == compiled.digest


def test_a_config_with_validation_images_compiles_to_the_same_bundle(tmp_path: Path) -> None:
    demo = write_demo(tmp_path / "demo", "cogvideox-5b-i2v", "lora").spec.parent
    first = compile_file(demo / "spec.yaml", tmp_path / "bundles").only
    assert (first.bundle.folder / "validation/00.png").read_bytes() == (
        demo / "first.png"
    ).read_bytes()
    again = compile_file(
        first.bundle.folder / "config.json",
        tmp_path / "bundles",
        data_root=demo / "data",
        model_path=str(demo / "model"),
    ).only
    assert again.digest == first.digest


def test_a_sweep_is_a_bundle_a_point_with_one_manifest(own_demo: Path, tmp_path: Path) -> None:
    spec = own_demo / "spec.yaml"
    text = spec.read_text()
    spec.write_text(f"{text}\nsweep: {{training.learning_rate: [1e-3, 2e-3], lora.rank: [4, 8]}}\n")
    swept = compile_file(spec, tmp_path / "bundles")
    assert [bundle.point for bundle in swept.bundles] == [
        "training.learning_rate=0.001, lora.rank=4",
        "training.learning_rate=0.001, lora.rank=8",
        "training.learning_rate=0.002, lora.rank=4",
        "training.learning_rate=0.002, lora.rank=8",
    ]
    assert len({bundle.digest for bundle in swept.bundles}) == 4
    manifests = {(bundle.bundle.folder / "dataset.jsonl").read_bytes() for bundle in swept.bundles}
    assert len(manifests) == 1
    # A point is what the spec with its settings alone would be.
    spec.write_text(text)
    alone = compile_file(spec, tmp_path / "alone", settings=["lora.rank=4"]).only
    assert alone.digest == swept.bundles[0].digest


def test_one_bad_point_of_a_sweep_writes_none(own_demo: Path, tmp_path: Path) -> None:
    spec = own_demo / "spec.yaml"
    spec.write_text(f"{spec.read_text()}\nsweep: {{lora.rank: [4, 0]}}\n")
    with pytest.raises(ProblemsFound) as found:
        compile_file(spec, tmp_path / "bundles")
    assert ["lora.rank=0" in problem.message for problem in found.value.problems] == [True]
    assert not (tmp_path / "bundles").exists()


def test_a_branch_is_pinned_to_its_commit_without_a_network(hub_demo: Path, tmp_path: Path) -> None:
    bundle = compile_file(hub_demo / "spec.yaml", tmp_path / "bundles").only.bundle
    model = json.loads((bundle.folder / "model.json").read_bytes())
    assert model["hub"] == {"commit": COMMIT, "repository": "THUDM/CogVideoX-2b"}
    assert model["files"] == []
    config = json.loads((bundle.folder / "config.json").read_bytes())
    assert config["model"]["revision"] == COMMIT
    again = compile_file(
        bundle.folder / "config.json",
        tmp_path / "bundles",
        data_root=hub_demo / "data",
        model_path="THUDM/CogVideoX-2b",
    ).only
    assert again.bundle == bundle


def test_a_full_commit_needs_neither_network_nor_weights(
    hub_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    settings = [
        f"model.revision={COMMIT}",
        "data.resolution=49x480x720",
        "data.short_clips=repeat_last",
    ]
    out = tmp_path / "bundles"
    bundle = compile_file(hub_demo / "spec.yaml", out, settings=settings).only.bundle
    model = json.loads((bundle.folder / "model.json").read_bytes())
    assert model["hub"]["commit"] == COMMIT
    assert model["architecture"]["transformer"]["num_layers"] == 30


def test_a_branch_that_nobody_knows_ends_in_a_sentence(
    hub_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    settings = ["data.resolution=49x480x720", "data.short_clips=repeat_last"]
    with pytest.raises(UserError, match=r"can't look up the commit of main .*full commit"):
        compile_file(hub_demo / "spec.yaml", tmp_path / "bundles", settings=settings)
    assert not (tmp_path / "bundles").exists() or not list((tmp_path / "bundles").iterdir())
