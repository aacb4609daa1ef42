"""Compiling writes a whole bundle, or nothing and every reason why."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.store import find_bundle
from cvbundle.bundle.verify import differences
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.problems import ProblemsFound, UserError


def test_every_file_of_the_design_is_there(compiled: Compiled) -> None:
    names = {path.name for path in compiled.bundle.folder.iterdir()}
    assert names == {
        "SHA256SUMS",
        "config.json",
        "dataset.jsonl",
        "model.json",
        "requirements.txt",
        "accelerate.yaml",
        "launch.sh",
        "code",
        "README.md",
        "local",
        "runs",
    }


def test_every_setting_is_explicit_but_those_of_this_machine(compiled: Compiled) -> None:
    config = json.loads((compiled.bundle.folder / "config.json").read_bytes())
    assert config["training"]["seed"] == 42
    assert config["model"]["name"] == "cogvideox-2b"
    assert config["data"]["resolution"] == "9x64x96"
    assert "path" not in config["model"]
    assert "root" not in config["data"]
    assert "dir" not in config["output"]


def test_no_hashed_file_names_a_folder_of_this_machine(compiled: Compiled, demo: Path) -> None:
    for path in compiled.bundle.folder.rglob("*"):
        if path.is_file() and "local" not in path.relative_to(compiled.bundle).parts:
            content = path.read_bytes()
            assert str(demo).encode() not in content, path
            assert str(Path.home()).encode() + b"/" not in content, path


def test_a_sample_states_frames_crop_and_digest(compiled: Compiled) -> None:
    lines = (compiled.bundle.folder / "dataset.jsonl").read_text().splitlines()
    assert len(lines) == 4
    sample = json.loads(lines[0])
    assert sample["clip"] == "videos/red_right.mp4"
    assert sample["caption"] == "A red square moves to the right."
    assert sample["chosen"] == list(range(0, 17, 2))
    assert sample["crop"] == [5, 0, 85, 128]
    assert len(sample["digest"]) == 64


def test_each_weight_file_is_pinned_by_its_digest(compiled: Compiled) -> None:
    model = json.loads((compiled.bundle.folder / "model.json").read_bytes())
    pinned = {file["path"] for file in model["files"]}
    assert "transformer/diffusion_pytorch_model.safetensors" in pinned
    assert "tokenizer/spiece.model" in pinned
    assert all(len(file["sha256"]) == 64 and file["size"] for file in model["files"])


def test_the_lock_has_exact_public_versions(compiled: Compiled) -> None:
    lines = (compiled.bundle.folder / "requirements.txt").read_text().splitlines()[1:]
    assert any(line.startswith("torch==") for line in lines)
    assert all("==" in line and "+" not in line for line in lines)


def test_only_packages_that_are_chosen_are_locked(compiled: Compiled) -> None:
    text = (compiled.bundle.folder / "requirements.txt").read_text()
    assert "bitsandbytes" not in text
    assert "prodigyopt" not in text


def test_what_is_hashed_is_read_only(compiled: Compiled) -> None:
    for path in compiled.bundle.folder.rglob("*"):
        if path.relative_to(compiled.bundle).parts[0] not in ("local", "runs"):
            assert not path.stat().st_mode & 0o222, path
    assert (compiled.bundle.folder / "launch.sh").stat().st_mode & stat.S_IXUSR


def test_compiling_again_changes_nothing(compiled: Compiled, demo: Path) -> None:
    before = (compiled.bundle.folder / "SHA256SUMS").stat()
    again = compile_file(demo / "spec.yaml", compiled.bundle.folder.parent).only
    assert not again.created
    assert (compiled.bundle.folder / "SHA256SUMS").stat() == before
    assert list(compiled.bundle.folder.parent.iterdir()) == [compiled.bundle.folder]


def test_what_killed_processes_left_is_gone_after_the_next_compilation(
    compiled: Compiled, demo: Path
) -> None:
    store = compiled.bundle.folder.parent
    for label in ("compiling", "unpacking"):
        left = store / f".{label}.x.tmp"
        (left / label / "0").mkdir(parents=True)
        (left / label / "0/dataset.jsonl").write_text("half")
        (left / ".lock").touch()
    compile_file(demo / "spec.yaml", store)
    assert list(store.iterdir()) == [compiled.bundle.folder]


def test_compilations_at_the_same_time_all_succeed(demo: Path, tmp_path: Path) -> None:
    def start(*settings: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "cvbundle.cli", "compile", str(demo / "spec.yaml")]
        command += ["--json", "--out", str(tmp_path), *settings]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)

    processes = [start(), start(), start("--set", "lora.rank=16")]
    said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    first, second, other = (json.loads(out) for out, _ in said)
    assert first["bundle"] == second["bundle"] != other["bundle"]
    assert [first["created"], second["created"]].count(True) == 1
    assert {str(path) for path in tmp_path.iterdir()} == {first["bundle"], other["bundle"]}
    for each in (first, other):
        assert not list(differences(Bundle(Path(each["bundle"]))))


def test_compiling_from_another_folder_says_where_things_are_now(
    compiled: Compiled, own_demo: Path
) -> None:
    compile_file(own_demo / "spec.yaml", compiled.bundle.folder.parent)
    paths = json.loads((compiled.bundle.folder / "local/paths.json").read_bytes())
    assert paths["data.root"] == str(own_demo / "data")


def test_every_bad_clip_is_named_and_nothing_is_written(own_demo: Path, tmp_path: Path) -> None:
    videos = own_demo / "data/videos"
    content = (videos / "red_right.mp4").read_bytes()
    (videos / "red_right.mp4").write_bytes(content[: len(content) * 2 // 3])
    (videos / "blue_down.mp4").write_text("no video")
    (videos / "white_up.mp4").unlink()
    with pytest.raises(ProblemsFound) as found:
        compile_file(own_demo / "spec.yaml", tmp_path / "bundles")
    named = {
        problem.message.split()[0]: problem.rule
        for problem in found.value.problems
        if problem.blocks
    }
    assert named["videos/red_right.mp4"] in ("clip-truncated", "clip-unreadable")
    assert named["videos/blue_down.mp4"] == "clip-unreadable"
    assert named["videos/white_up.mp4"] == "clip-missing"
    assert not (tmp_path / "bundles").exists()


def test_bad_clips_can_be_left_out_on_purpose(own_demo: Path, tmp_path: Path) -> None:
    (own_demo / "data/videos/blue_down.mp4").write_text("no video")
    settings = ["data.bad_samples=skip"]
    done = compile_file(own_demo / "spec.yaml", tmp_path / "bundles", settings=settings).only
    assert done.samples == 3
    skipped = json.loads((done.bundle.folder / "skipped.jsonl").read_text())
    assert (skipped["clip"], skipped["rule"]) == ("videos/blue_down.mp4", "clip-unreadable")


def test_a_wrong_spec_writes_nothing(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound):
        compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=["data.resolution=8x64x96"])
    assert not (tmp_path / "bundles").exists()


def test_a_model_without_a_part_is_refused_in_a_sentence(own_demo: Path, tmp_path: Path) -> None:
    for path in (own_demo / "model/tokenizer").iterdir():
        path.unlink()
    (own_demo / "model/tokenizer").rmdir()
    with pytest.raises(UserError, match="tokenizer"):
        compile_file(own_demo / "spec.yaml", tmp_path / "bundles")


def test_a_fresh_bundle_verifies_and_any_change_is_named(compiled: Compiled) -> None:
    bundle = compiled.bundle
    assert not list(differences(bundle))
    (bundle.folder / "config.json").chmod(0o644)
    (bundle.folder / "config.json").write_text("{}")
    (bundle.folder / "extra").write_text("")
    (bundle.folder / "code").chmod(0o755)
    (bundle.folder / "model.json").unlink()
    assert [str(each) for each in differences(bundle)] == [
        "config.json has other bytes",
        "extra was added",
        "model.json is missing",
    ]


def test_a_damaged_bundle_is_not_said_to_exist(compiled: Compiled, demo: Path) -> None:
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_bytes(config.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"config\.json has other bytes"):
        compile_file(demo / "spec.yaml", compiled.bundle.folder.parent)


def test_a_lost_local_folder_is_made_again(compiled: Compiled, demo: Path) -> None:
    for path in (compiled.bundle.folder / "local").iterdir():
        path.unlink()
    (compiled.bundle.folder / "local").rmdir()
    assert not compile_file(demo / "spec.yaml", compiled.bundle.folder.parent).only.created
    assert (compiled.bundle.folder / "local/paths.json").is_file()


def test_a_bundle_that_can_not_take_down_where_things_are_says_how_to_run_it(
    compiled: Compiled, own_demo: Path
) -> None:
    shutil.rmtree(compiled.bundle.folder / "local")
    (compiled.bundle.folder / "local").touch()
    sentence = "already exists, and its paths of clips and model can't be updated"
    with pytest.raises(UserError, match=sentence):
        compile_file(own_demo / "spec.yaml", compiled.bundle.folder.parent)


def test_two_points_of_a_sweep_that_are_one_bundle_are_refused(demo: Path, tmp_path: Path) -> None:
    settings = ["sweep={output.dir: [a, b]}"]
    with pytest.raises(UserError, match=r"output\.dir=a and output\.dir=b give the same bundle"):
        compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings)


def test_a_revision_of_a_folder_is_refused(demo: Path, tmp_path: Path) -> None:
    settings = ["model.revision=main"]
    with pytest.raises(ProblemsFound) as found:
        compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings)
    assert [problem.rule for problem in found.value.problems] == ["revision-of-folder"]


def test_a_hash_is_compared_to_its_last_digit(compiled: Compiled) -> None:
    store = compiled.bundle.folder.parent
    assert find_bundle(compiled.digest, store) == compiled.bundle
    other = compiled.digest[:-1] + ("0" if compiled.digest[-1] != "0" else "1")
    with pytest.raises(UserError, match="no bundle"):
        find_bundle(other, store)


def test_a_copy_in_the_store_does_not_hide_the_bundle(compiled: Compiled) -> None:
    store = compiled.bundle.folder.parent
    shutil.copytree(compiled.bundle, store / f"{compiled.bundle.name} copy")
    assert find_bundle(compiled.bundle.name, store) == compiled.bundle
