"""The status of a run that was killed, and so couldn't record its end."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cvbundle.bundle.run import Run
from cvbundle.bundle.run_lock import RunLock
from cvbundle.bundle.runs import record_failure
from cvbundle.processes import killed
from cvbundle.processes.killed import OomKills, killed_by

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_RUNNING = {"attempts": [{"started": "2026-01-01T00:00:00+00:00"}], "status": "running"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose record says that it is running."""
    folder = tmp_path / "runs/0001"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(_RUNNING))
    return folder


def test_a_run_is_running_only_while_a_process_locks_it(run: Path) -> None:
    lock = RunLock(run)
    assert (Run(run).status, Run(run).reason) == ("running", None)
    lock.release()
    assert Run(run).status == "failed"
    assert Run(run).reason == "its process was killed, or its machine went down"


def test_reading_the_status_does_not_block_the_start_of_a_run(run: Path) -> None:
    for _ in range(3):
        assert Run(run).status == "failed"
        RunLock(run).release()


def test_the_failure_of_a_killed_run_is_recorded(run: Path) -> None:
    record_failure(run.parent, "the trainer was killed", since=_LONG_AGO)
    assert (Run(run).status, Run(run).reason) == ("failed", "the trainer was killed")
    assert Run(run).attempts[0].started == "2026-01-01T00:00:00+00:00"


def test_the_failure_of_a_run_without_a_record_is_recorded(run: Path) -> None:
    (run / "run.json").unlink()
    record_failure(run.parent, "the trainer was killed", since=_LONG_AGO)
    assert (Run(run).status, Run(run).reason) == ("failed", "the trainer was killed")


def test_an_ended_or_running_run_is_left_alone(run: Path) -> None:
    before = (run / "run.json").read_bytes()
    record_failure(run.parent, "killed", since=datetime.now(UTC) + timedelta(days=999))
    lock = RunLock(run)
    record_failure(run.parent, "killed", since=_LONG_AGO)
    lock.release()
    assert (run / "run.json").read_bytes() == before
    stopped = {**_RUNNING, "status": "stopped"}
    (run / "run.json").write_text(json.dumps(stopped))
    record_failure(run.parent, "killed", since=_LONG_AGO)
    assert Run(run).data == stopped


def test_an_out_of_memory_kill_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "job/memory.events"
    events.parent.mkdir()
    events.write_text("low 0\noom 3\noom_kill 2\n")
    (tmp_path / "cgroup").write_text("0::/job\n")
    monkeypatch.setattr(killed, "_CGROUP", tmp_path)
    monkeypatch.setattr(killed, "_GROUPS", tmp_path / "cgroup")
    kills = OomKills()
    assert killed_by(signal.SIGKILL, kills) == "was killed by signal 9 (out of memory?)"
    events.write_text("low 0\noom 4\noom_kill 3\n")
    sentence = f"was killed by signal 9: the kernel was out of memory (oom_kill in {events})"
    assert killed_by(signal.SIGKILL, kills) == sentence
    assert killed_by(signal.SIGSEGV, kills) == "was killed by signal 11 (Segmentation fault)"


def test_what_a_killed_trainer_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".run.json.x1y2.tmp").write_text("{")
    (tmp_path / ".samples.tmp").mkdir()
    (tmp_path / "run.json").write_text("{}")
    RunLock(tmp_path).release()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".samples.tmp", "run.json"}
