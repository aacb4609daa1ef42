"""The runs of a bundle: their folders, their records, and which one goes on."""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from cvbundle.bundle.layout import RUN_LOCK, RUN_RECORD, RUNS
from cvbundle.files import locks
from cvbundle.files.digest import json_file
from cvbundle.files.durable import write_bytes
from cvbundle.files.expand import expanded
from cvbundle.problems import UserError

_LOOKS, _LOOK_S = 5, 0.05

Choice = Literal["resume", "fresh", "auto"]
"""Go on with the newest run, begin a new one, or whichever of the two is possible."""


@frozen
class Run:
    """A run's folder and what its `run.json` says; the record is empty before the first start."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        """`complete`, `running`, `stopped`, `failed`, or `new`.

        What its record calls running has failed where no process holds the run: one that is killed
        can't write that down.
        """
        recorded = str(self.record.get("status", "new"))
        return "failed" if recorded == "running" and not is_held(self.folder) else recorded

    @property
    def reason(self) -> str | None:
        """Why it was stopped or has failed; None where it was not and has not."""
        status = self.status
        if status not in ("stopped", "failed"):
            return None
        attempts = self.record.get("attempts") or [{}]
        return str(attempts[-1].get("reason", "its process was killed, or its machine went down"))

    @property
    def complete(self) -> bool:
        """Whether its result is there."""
        return self.status == "complete"


def runs_folder(bundle: Path, output: str | None) -> Path:
    """Where runs of a bundle go: below `output.dir`, by the bundle's name, or inside the bundle."""
    return expanded(output) / bundle.name if output else bundle / RUNS


def list_runs(folder: Path) -> list[Run]:
    """Every run in a folder of runs, oldest first."""
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    return [read_run(path) for path in sorted(numbered, key=lambda path: int(path.name))]


def read_run(folder: Path) -> Run:
    """A run and its record."""
    try:
        record = json.loads((folder / RUN_RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        record = {}
    return Run(folder, record if isinstance(record, dict) else {})


def require_run(folder: Path) -> Run:
    """The newest run.

    Raises:
        UserError: there is none.
    """
    runs = list_runs(folder)
    if not runs:
        raise UserError(f"{folder} holds no run to resume: leave out --resume to begin one")
    return runs[-1]


def choose_run(folder: Path, choice: Choice) -> Run:
    """The run to go on with, or a new one.

    Raises:
        UserError: there is none to resume.
    """
    if choice == "resume":
        return require_run(folder)
    runs = list_runs(folder)
    if choice == "auto" and runs:
        return runs[-1]
    folder.mkdir(parents=True, exist_ok=True)
    number = int(runs[-1].folder.name) + 1 if runs else 1
    while True:
        path = folder / f"{number:04d}"
        try:
            path.mkdir()
        except FileExistsError:
            # Another process began one at the same moment.
            number += 1
        else:
            return Run(path, {})


def is_held(folder: Path) -> bool:
    """Whether a process trains in a run's folder; also one on another machine, on a shared disk."""
    try:
        lock = locks.take(folder / RUN_LOCK, create=False, shared=True)
    except OSError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


def record_failure(folder: Path, reason: str, *, since: datetime) -> None:
    """Record that the newest run has failed, where its process could not.

    Nothing is recorded of a run that was begun before `since`, that has recorded how it ended, or
    that a process holds.
    """
    runs = list_runs(folder)
    if not runs:
        return
    run = runs[-1]
    attempts = run.record.get("attempts") or [{}]
    began = attempts[-1].get("started")
    if began is None:
        began = _when(datetime.fromtimestamp(run.folder.stat().st_ctime, UTC))
    unfinished = run.record.get("status", "running") == "running"
    if not unfinished or began < _when(since):
        return
    try:
        lock = locks.take(run.folder / RUN_LOCK)
    except OSError:
        return
    if lock is None:
        return
    attempts[-1] |= {"stopped": _when(datetime.now(UTC)), "reason": reason}
    facts = {"bundle": folder.parent.name, "phases": {}, **run.record}
    facts |= {"attempts": attempts, "status": "failed"}
    write_bytes(run.folder / RUN_RECORD, json_file(facts))
    lock.release()


def _when(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


class RunLock:
    """Holds a run for this process, so that no other one trains in the same folder.

    The lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        try:
            lock = locks.take(folder / RUN_LOCK)
            for _ in range(_LOOKS):
                if lock is not None:
                    break
                # Perhaps someone only looks whether it is held, as `is_held` does.
                time.sleep(_LOOK_S)
                lock = locks.take(folder / RUN_LOCK)
        except OSError as error:
            raise UserError(f"{folder} can't be locked ({error.strerror})") from None
        if lock is None:
            raise UserError(
                f"{folder} is being trained or archived by another process: "
                "wait for it, or use --fresh"
            )
        self._lock = lock

    def release(self) -> None:
        """Let others have the run."""
        self._lock.release()


@contextlib.contextmanager
def held_still(runs: Iterable[Run]) -> Iterator[None]:
    """Nothing trains in these runs while the block lasts; others may hold them still too.

    Raises:
        UserError: one of them is being trained.
    """
    with contextlib.ExitStack() as held:
        for run in runs:
            try:
                lock = locks.take(run.folder / RUN_LOCK, shared=True)
            except OSError:
                # Where no lock can be made, nothing can be trained.
                continue
            if lock is None:
                raise UserError(f"run {run.folder.name} is being trained: wait for it, or stop it")
            held.callback(lock.release)
        yield
