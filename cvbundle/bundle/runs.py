"""The runs of a bundle: their folders, their records, and which one goes on."""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

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
        self._descriptor = os.open(folder / RUN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise UserError(
                f"{folder} is being trained by another process: wait for it, or use --fresh"
            ) from None

    def release(self) -> None:
        """Let others have the run."""
        os.close(self._descriptor)
