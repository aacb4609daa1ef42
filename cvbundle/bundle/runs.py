"""Choose the run to train, and record the failure of one that couldn't do so itself."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cvbundle.bundle.layout import RUN_LOCK, RUN_RECORD
from cvbundle.bundle.run import Run, list_runs
from cvbundle.files import locks
from cvbundle.files.digest import json_file
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError

Choice = Literal["resume", "fresh", "auto"]
"""Continue the newest run, begin a new one, or continue if there is one and begin otherwise."""


def newest_run(folder: Path) -> Run:
    """The newest run in a folder of runs.

    Raises:
        UserError: there is none.
    """
    runs = list_runs(folder)
    if not runs:
        raise UserError(f"{folder} has no run to resume: leave out --resume to begin one")
    return runs[-1]


def newest_complete(runs: Iterable[Run]) -> Run | None:
    """The newest of some runs that is complete; None if none is."""
    complete = [run for run in runs if run.is_complete]
    return complete[-1] if complete else None


def choose_run(folder: Path, choice: Choice) -> Run:
    """The run to continue, or a new one, in a folder of runs.

    Raises:
        UserError: there is none to resume.
    """
    if choice == "resume":
        return newest_run(folder)
    runs = list_runs(folder)
    if choice == "auto" and runs:
        return runs[-1]
    folder.mkdir(parents=True, exist_ok=True)
    number = runs[-1].number + 1 if runs else 1
    while True:
        path = folder / f"{number:04d}"
        try:
            path.mkdir()
        except FileExistsError:
            # Another process created it at the same moment.
            number += 1
        else:
            return Run(path)


def record_failure(folder: Path, reason: str, *, since: datetime) -> None:
    """Record that the newest run failed, if its process couldn't.

    Leaves alone a run that began before `since`, has recorded its end, or is locked by a process.
    """
    runs = list_runs(folder)
    if not runs:
        return
    run = runs[-1]
    attempts: list[dict[str, Any]] = [dict(each) for each in run.data.get("attempts") or [{}]]
    started = attempts[-1].get("started")
    if started is None:
        started = _timestamp(datetime.fromtimestamp(run.folder.stat().st_ctime, UTC))
    is_unfinished = run.data.get("status", "running") == "running"
    if not is_unfinished or started < _timestamp(since):
        return
    try:
        lock = locks.take(run.folder / RUN_LOCK)
    except OSError:
        return
    if lock is None:
        return
    attempts[-1] |= {"stopped": _timestamp(datetime.now(UTC)), "reason": reason}
    data = {"bundle": folder.parent.name, "phases": {}, **run.data}
    data |= {"attempts": attempts, "status": "failed"}
    write_bytes(run.folder / RUN_RECORD, json_file(data))
    lock.release()


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
