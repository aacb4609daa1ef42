"""A run that fails prints one sentence, records why, and keeps what it has saved."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file
from cvbundle.problems import UserError
from cvbundle.training import train as training
from cvbundle.training.processes import Stopped
from tests.training.conftest import CompileDemo, StopAfter, Train, adapter, digest


def _status(run: Path) -> tuple[str, str]:
    record = json.loads((run / "run.json").read_bytes())
    return record["status"], record["attempts"][-1]["reason"]


@pytest.mark.train
def test_a_damaged_entry_that_a_worker_reads_is_one_sentence(
    demo: Path, train_here: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    settings = ["tracking.report_to=[]", "data.num_workers=1"]
    bundle = compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings).only.bundle
    with pytest.raises(Stopped):
        train_here(bundle, stop=StopAfter(10))
    for entry in (tmp_path / "cache").rglob("*.safetensors"):
        content = bytearray(entry.read_bytes())
        content[-1] ^= 1
        entry.write_bytes(content)
    damaged = r"^\S+ was damaged and is removed, with \d+ others: run again [^\n]+$"
    with pytest.raises(UserError, match=damaged):
        train_here(bundle)
    assert _status(bundle.folder / "runs/0001")[0] == "failed"
    # One failed run, not one for each entry.
    train_here(bundle)
    assert _status(bundle.folder / "runs/0001")[0] == "complete"


@pytest.mark.train
def test_weights_that_blow_up_are_noticed_before_they_are_saved(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    broken = ("training.learning_rate=1e30", "training.max_grad_norm=null")
    bundle = compile_demo(*broken, "data.num_workers=2")
    with pytest.raises(UserError, match=r"the loss at step \d+ is (nan|inf).*learning_rate"):
        train_here(bundle)
    assert not (bundle / "runs/0001/checkpoints").exists()


@pytest.mark.train
def test_an_unexpected_error_is_recorded_with_its_traceback(
    compile_demo: CompileDemo, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("not expected")

    monkeypatch.setattr(training, "fill_cache", fail)
    bundle = compile_demo()
    with pytest.raises(ZeroDivisionError):
        train_here(bundle)
    run = bundle / "runs/0001"
    assert _status(run) == ("failed", "not expected")
    assert "ZeroDivisionError: not expected" in (run / "log.txt").read_text()


@pytest.mark.train
def test_a_disk_that_takes_no_more_ends_in_one_sentence_and_the_checkpoint_before_is_whole(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = compile_demo("checkpointing.steps=5", "validation.steps=20")
    whole = train_here(bundle)
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(6))
    run = bundle / "runs/0002"
    (saved,) = (path for path in (run / "checkpoints").iterdir() if path.name >= "step-00000006")
    largest = max(path.stat().st_size for path in saved.iterdir())

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2))

    environment = {**os.environ, "PYTHON": sys.executable, "CVBUNDLE_DEVICE": "cpu"}
    full = subprocess.run(
        ["bash", bundle / "launch.sh"],
        env=environment,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 3
    assert "Traceback" not in full.stderr
    (sentence,) = (line for line in full.stderr.splitlines() if line.startswith("error:"))
    assert f"{run}/checkpoints/step-00000010: File too large: free some space" in sentence
    assert _status(run)[0] == "failed"
    assert train_here(bundle) == run
    assert digest(adapter(run)) == digest(adapter(whole))


def _launched(bundle: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHON": sys.executable, "CVBUNDLE_DEVICE": "cpu"}
    return subprocess.Popen(
        ["bash", bundle / "launch.sh"], env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
@pytest.mark.train
def test_two_processes_that_are_stopped_save_their_state(
    compile_demo: CompileDemo,
) -> None:
    bundle = compile_demo("launch.strategy=ddp", "launch.num_processes=2", "training.steps=500")
    process = _launched(bundle)
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if "evaluation" in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    assert "stopped after step" in said
    assert "Traceback" not in said
    status, reason = _status(bundle / "runs/0001")
    assert status == "stopped"
    (saved,) = (bundle / "runs/0001/checkpoints").iterdir()
    assert reason == f"after step {int(saved.name.removeprefix('step-'))}"


@pytest.mark.slow
@pytest.mark.train
def test_an_error_in_one_of_two_processes_is_printed_once_and_recorded(
    own_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    settings = ["tracking.report_to=[]", "launch.strategy=ddp", "launch.num_processes=2"]
    bundle = compile_file(
        own_demo / "spec.yaml", tmp_path / "bundles", settings=settings
    ).only.bundle
    # The second clip is the second process's.
    (own_demo / "data/videos/blue_down.mp4").unlink()
    process = _launched(bundle.folder)
    _, said = process.communicate()
    assert process.returncode == 3
    assert "Traceback" not in said
    (sentence,) = (line for line in said.splitlines() if line.startswith("error:"))
    assert "blue_down.mp4 can't be read" in sentence
    assert _status(bundle.folder / "runs/0001") == ("failed", sentence.removeprefix("error: "))
