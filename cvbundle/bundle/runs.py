"""The runs of a bundle: their folders, their records, and which one goes on."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from cvbundle import locks
from cvbundle.bundle.layout import RUN_LOCK, RUN_RECORD, RUNS
from cvbundle.expand import expanded
from cvbundle.problems import UserError

Choice = Literal["resume", "fresh", "auto"]
"""Go on with the newest run, begin a new one, or whichever of the two is possible."""


@frozen
class Run:
    """A run's folder and what its `run.json` says; the record is empty before the first start."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def status(self) -> str:
        """`complete`, `running`, `stopped`, `failed`, or `new`."""
        return str(self.record.get("status", "new"))

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


class RunLock:
    """Holds a run for this process, so that no other one trains in the same folder.

    The lock goes with the process, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        try:
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
