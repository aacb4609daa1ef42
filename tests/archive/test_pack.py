"""A bundle that is archived and unpacked elsewhere is the same."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import SUMS
from cvbundle.bundle.run_lock import RunLock, unchanging
from cvbundle.bundle.verify import differences
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.execution.verification import verify_bundle
from cvbundle.problems import UserError


def _with_run(bundle: Path) -> Path:
    """A bundle with what a run leaves, as far as archives care."""
    run = bundle / "runs/0001"
    (run / "adapter").mkdir(parents=True)
    (run / "run.json").write_text('{"status": "complete"}')
    (run / "adapter/pytorch_lora_weights.safetensors").write_bytes(os.urandom(3_000_001))
    (run / ".lock").touch()
    return run


def test_two_archives_are_the_same_bytes(compiled: Compiled, tmp_path: Path) -> None:
    first = Path(archive_bundle(compiled.bundle, tmp_path / "first.tar.zst").file)
    elsewhere = tmp_path / "elsewhere" / compiled.bundle.name
    shutil.copytree(compiled.bundle, elsewhere)
    for path in (elsewhere, *elsewhere.rglob("*")):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    (elsewhere / "local/paths.json").write_text("{}")
    second = Path(archive_bundle(Bundle(elsewhere), tmp_path / "second.tar.zst").file)
    assert first.read_bytes() == second.read_bytes()


def test_unpacking_ignores_the_umask(compiled: Compiled, tmp_path: Path) -> None:
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file)
    command = [sys.executable, "-m", "cvbundle.cli", "unpack", str(archive), "--out", "there"]
    result = subprocess.run(
        command, cwd=tmp_path, umask=0o077, capture_output=True, text=True, check=True
    )
    bundle = tmp_path / result.stdout.splitlines()[-1]
    assert bundle.name == compiled.bundle.name
    assert not list(differences(Bundle(bundle)))
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle)
        if name.parts[0] not in ("local", "runs"):
            assert path.stat().st_mode == (compiled.bundle / name).stat().st_mode, name
    again = Path(archive_bundle(Bundle(bundle), tmp_path / "again.tar.zst").file)
    assert again.read_bytes() == archive.read_bytes()


def test_runs_clips_and_weights_can_be_archived(compiled: Compiled, tmp_path: Path) -> None:
    run = _with_run(compiled.bundle.folder)
    (run / "latest").symlink_to("/")
    archived = archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["runs", "data", "model"])
    assert archived.left_out == ("runs/0001/latest",)
    unpacked = unpack_archive(archived.file, tmp_path / "there")
    there = unpacked.bundle.folder / "runs/0001"
    assert {path.name for path in there.iterdir()} == {"run.json", "adapter"}
    weights = "adapter/pytorch_lora_weights.safetensors"
    assert (there / weights).read_bytes() == (run / weights).read_bytes()
    shutil.rmtree(tmp_path / "bundles", ignore_errors=True)
    result = verify_bundle(unpacked.bundle)
    assert result.verified
    assert (result.clips, result.weights) == ((), ())


def test_temporary_files_of_a_killed_run_are_not_archived(
    compiled: Compiled, tmp_path: Path
) -> None:
    run = _with_run(compiled.bundle.folder)
    (run / "checkpoints/.step-00000005.x.tmp").mkdir(parents=True)
    (run / "checkpoints/.step-00000005.x.tmp/weights").write_text("half")
    archive = archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["runs"]).file
    there = unpack_archive(archive, tmp_path / "there").bundle.folder / "runs/0001"
    assert not (there / "checkpoints").exists()


def test_a_run_that_is_being_trained_is_not_archived(compiled: Compiled, tmp_path: Path) -> None:
    lock = RunLock(_with_run(compiled.bundle.folder))
    with pytest.raises(UserError, match="run 0001 is being trained: wait for it, or stop it"):
        archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["runs"])
    assert not (tmp_path / "a.tar.zst").exists()
    # The bundle alone is whole whatever trains in it.
    archive_bundle(compiled.bundle, tmp_path / "a.tar.zst")
    lock.release()
    archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["runs"])


def test_a_run_can_not_be_trained_while_it_is_archived(compiled: Compiled) -> None:
    run = _with_run(compiled.bundle.folder)
    runs = [run.folder for run in compiled.bundle.runs]
    with unchanging(runs), unchanging(runs), pytest.raises(UserError, match="trained or archived"):
        RunLock(run)
    RunLock(run).release()


def test_tar_reads_an_archive(compiled: Compiled, tmp_path: Path) -> None:
    from backports import zstd

    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file)
    plain = tmp_path / "a.tar"
    plain.write_bytes(zstd.decompress(archive.read_bytes()))
    subprocess.run(["tar", "--extract", "--file", plain], cwd=tmp_path, check=True)
    command = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    subprocess.run(command, cwd=tmp_path / compiled.bundle.name, check=True)


def test_names_of_any_length_and_script_are_archived(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    run = _with_run(compiled.bundle.folder)
    name = "samples/" + "/".join(["ein Pferd läuft 走る馬"] * 8) + "/" + "x" * 200
    (run / name).parent.mkdir(parents=True)
    (run / name).write_text("here")
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["runs"]).file)
    bundle = unpack_archive(archive, tmp_path / "there").bundle
    assert (bundle.folder / "runs/0001" / name).read_text() == "here"


def test_unpacking_an_existing_bundle_changes_nothing(compiled: Compiled, tmp_path: Path) -> None:
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file)
    before = (compiled.bundle.folder / "local/paths.json").read_bytes()
    assert not unpack_archive(archive, compiled.bundle.folder.parent).created
    assert (compiled.bundle.folder / "local/paths.json").read_bytes() == before


def test_unpacking_all_parts_again_changes_nothing(compiled: Compiled, tmp_path: Path) -> None:
    _with_run(compiled.bundle.folder)
    path = tmp_path / "a.tar.zst"
    archive = archive_bundle(compiled.bundle, path, ["runs", "data", "model"]).file
    first = unpack_archive(archive, tmp_path / "there")
    again = unpack_archive(archive, tmp_path / "there")
    assert (first.created, again.created) == (True, False)
    assert again.bundle.folder == first.bundle.folder
    (clip, *_) = (first.bundle.folder / "local/data").rglob("*.mp4")
    clip.chmod(0o644)
    clip.write_bytes(b"another")
    with pytest.raises(UserError, match="already exists, and contains a file that doesn't match"):
        unpack_archive(archive, tmp_path / "there")


def test_a_part_cannot_be_added_to_what_is_there(compiled: Compiled, tmp_path: Path) -> None:
    plain = archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file
    unpack_archive(plain, tmp_path / "there")
    _with_run(compiled.bundle.folder)
    more = archive_bundle(compiled.bundle, tmp_path / "more.tar.zst", ["runs", "data"]).file
    with pytest.raises(UserError, match="already exists, and data, runs can't be added to it"):
        unpack_archive(more, tmp_path / "there")


def test_the_folders_of_clips_and_weights_can_be_given(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file)
    unpacked = unpack_archive(
        archive, tmp_path / "there", data_root=demo / "data", model_path=str(demo / "model")
    )
    assert verify_bundle(unpacked.bundle).unknown == ()
    paths = json.loads((unpacked.bundle.folder / "local/paths.json").read_bytes())
    assert paths["data.root"] == str(demo / "data")


def test_a_changed_bundle_is_not_archived(compiled: Compiled, tmp_path: Path) -> None:
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_text("{}")
    with pytest.raises(UserError, match=r"config\.json has other bytes"):
        archive_bundle(compiled.bundle, tmp_path / "a.tar.zst")
    assert not list(tmp_path.glob("*a.tar*"))


@pytest.mark.parametrize("change", ["other bytes", "longer", "gone"])
def test_a_changed_clip_is_not_archived(
    change: str, compiled: Compiled, own_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", str(own_demo / "data"))
    clip = own_demo / "data/videos/red_right.mp4"
    content = clip.read_bytes()
    clip.write_bytes(content[::-1] if change == "other bytes" else content + b"x")
    if change == "gone":
        clip.unlink()
    with pytest.raises(UserError, match="red_right"):
        archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", ["data"])
    assert not list(tmp_path.glob("*a.tar*"))


def test_an_archive_replaces_another_one_atomically(compiled: Compiled, tmp_path: Path) -> None:
    target = tmp_path / "a.tar.zst"
    target.write_text("an older one")
    archive_bundle(compiled.bundle, target)
    assert hashlib.sha256(target.read_bytes()).digest()
    assert unpack_archive(target, tmp_path / "there").bundle.digest == compiled.digest


@pytest.mark.train
def test_an_unpacked_bundle_trains_to_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def cvbundle(*arguments: object, umask: int = 0o077) -> str:
        command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
        result = subprocess.run(
            command, cwd=elsewhere, umask=umask, capture_output=True, text=True, check=True
        )
        return result.stdout.splitlines()[-1]

    settings = ["training.steps=2", "validation=null", "tracking.report_to=[]"]
    settings += ["lr_scheduler.warmup_steps=0", "checkpointing.steps=2"]
    store = tmp_path / "store"
    bundle = compile_file(demo / "spec.yaml", store, settings=settings).only.bundle
    here = Path(cvbundle("run", bundle, umask=0o022))
    archive = cvbundle("archive", bundle, "--with", "data,model")
    there = elsewhere / cvbundle("unpack", archive)
    cvbundle("verify", there)
    assert Path(cvbundle("run", there)).read_bytes() == here.read_bytes()
