"""`cvbundle sample` makes a video with a complete run; `cvbundle cache` lists uses."""

import json
import shutil
import threading
from pathlib import Path

import pytest

from cvbundle.cli import main
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.execution.cache_contents import cache_contents
from cvbundle.execution.sample import find_result
from cvbundle.files.encodings import note_use
from cvbundle.problems import UserError


def _run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(str(ended.value.code)), captured.out, captured.err


@pytest.mark.train
def test_a_complete_run_makes_the_same_video_twice_and_its_encodings_are_listed(
    demo: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from cvbundle.training.train import train

    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CVBUNDLE_DEVICE", "cpu")
    settings = ["training.steps=1", "checkpointing.steps=1", "validation.steps=1"]
    settings += ["tracking.report_to=[]", "lr_scheduler.warmup_steps=0"]
    compiled = compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings).only
    run = train(compiled.bundle.folder, "auto", "cpu", 1, threading.Event())
    videos = []
    for name, what in (("a", run), ("b", compiled.bundle)):
        output = tmp_path / f"{name}.mp4"
        code, out, _ = _run_command(
            capfd, "sample", str(what), "--prompt", "A blue square.", "-o", str(output)
        )
        assert (code, out) == (0, f"{output}\n")
        videos.append(output.read_bytes())
        assert json.loads(output.with_suffix(".json").read_bytes())["prompt"] == "A blue square."
    assert videos[0] == videos[1]
    code, out, _ = _run_command(capfd, "cache", "--json")
    contents = json.loads(out)
    assert contents["unused"] == 0
    (use,) = contents["bundles"]
    assert use["bundle"] == str(compiled.bundle)
    # Four clips, their captions, and no caption; the validation prompt is a caption too.
    assert use["entries"] == contents["entries"] == 9
    assert use["bytes"] == contents["bytes"]


def test_an_image_for_a_text_to_video_model_is_refused(
    compiled: Compiled, demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, stderr = _run_command(capsys, "sample", str(compiled.bundle), "--prompt", "x")
    assert code == 1
    assert f"no run of {compiled.bundle.name} is complete" in stderr
    folder = compiled.bundle.folder / "runs/0001"
    folder.mkdir()
    (folder / "run.json").write_text('{"status": "complete", "bundle": "x"}')
    picture = demo / "spec.yaml"
    code, _, stderr = _run_command(
        capsys, "sample", str(folder), "--prompt", "x", "--image", str(picture)
    )
    assert code == 1
    assert "is text to video: leave out --image" in stderr


def test_a_run_that_is_not_complete_is_named(compiled: Compiled) -> None:
    folder = compiled.bundle.folder / "runs/0001"
    folder.mkdir()
    (folder / "run.json").write_text('{"status": "stopped", "bundle": "x"}')
    with pytest.raises(UserError, match="0001 is not complete"):
        find_result(str(folder))
    with pytest.raises(UserError, match="is neither a run nor a bundle"):
        find_result(str(compiled.bundle.folder / "code"))


def test_entries_of_a_removed_bundle_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CVBUNDLE_CACHE", str(cache))
    for key in ("aa1", "bb2", "cc3", "dd4"):
        path = cache / "encodings" / key[:2] / f"{key}.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 10)
    for name, keys in (("kept", ["aa1", "bb2", "not-made-yet"]), ("gone", ["bb2", "cc3"])):
        (tmp_path / name).mkdir()
        note_use(cache, tmp_path / name, keys)
        (tmp_path / name / "SHA256SUMS").touch()
        for folder in (tmp_path / name, cache / "environments" / f"for-{name}"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "requirements.txt").write_text(f"{name}==1.0\n")
    shutil.rmtree(tmp_path / "gone")
    assert {path.stem for path in cache_contents(cache).unused} == {"cc3", "dd4"}
    code, out, _ = _run_command(capsys, "cache")
    assert code == 0
    assert "(gone)" in out
    assert len(list(cache.rglob("*.safetensors"))) == 4
    code, out, _ = _run_command(capsys, "cache", "--prune")
    assert code == 0
    assert "2 removed" in out
    assert {path.stem for path in cache.rglob("*.safetensors")} == {"aa1", "bb2"}
    assert [use.bundle.name for use in cache_contents(cache).uses] == ["kept"]
    assert [path.name for path in (cache / "environments").iterdir()] == ["for-kept"]
