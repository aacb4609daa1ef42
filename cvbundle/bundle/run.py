"""A run of a bundle: a folder, and what is in its files."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import Factory, fields_dict, frozen

from cvbundle.bundle.layout import (
    RUN_ADAPTER,
    RUN_CHECKPOINTS,
    RUN_METRICS,
    RUN_RECORD,
    is_run_name,
)
from cvbundle.bundle.packages import Drift
from cvbundle.bundle.records import structured
from cvbundle.bundle.run_lock import is_locked
from cvbundle.files.json_objects import (
    DamagedFile,
    at_line,
    parse_object,
    read_object,
    read_rows,
    unreadable,
)

_TAIL_BYTES = 1 << 16
"""The end of a metrics file that contains its last line."""
_ADVICE = "remove the file to continue the run without it; or begin another one with --fresh"

Row = Mapping[str, Any]
"""A step's `step`, `loss`, `grad_norm`, `lr` and so on."""


@frozen(kw_only=True)
class Attempt:
    """One start of a run: when, on what, and how it ended. None is not recorded."""

    started: str | None = None
    """ISO 8601, UTC."""
    stopped: str | None = None
    reason: str | None = None
    """Why it ended."""
    host: str | None = None
    platform: str | None = None
    device: str | None = None
    """As torch names it: `cpu`, `cuda:0`."""
    device_name: str | None = None
    threads: int | None = None
    attention: str | None = None
    """The kernel of scaled dot product attention."""
    world_size: int | None = None
    """Processes on all machines."""
    torch: str | None = None
    """Its version with the build: `2.13.0+cpu`."""
    packages: Mapping[str, str] = Factory(dict)
    """Distribution to version, as locked."""
    drift: tuple[Drift, ...] = ()


@frozen(kw_only=True)
class RunRecord:
    """What `run.json` says, over all attempts. None is not recorded."""

    bundle: str | None = None
    """The bundle's name."""
    status: str = "new"
    attempts: tuple[Attempt, ...] = ()
    phases: Mapping[str, float] = Factory(dict)
    """Seconds by phase."""
    peak_memory: Mapping[str, Mapping[str, int]] = Factory(dict)
    """By phase, the bytes that the device's allocator held: `allocated` and `reserved`."""
    seconds_a_step: float | None = None
    """Median, without checkpoints and validations."""
    result: str | None = None
    """The folder of the trained weights, below the run's."""
    digests: Mapping[str, str] = Factory(dict)
    """The sha256 of each file of the result, by its path in the run."""
    final_loss: float | None = None


@frozen
class Run:
    """A run's folder; its record is read when it is first needed, and once.

    A file that is damaged is a `DamagedFile` where it is used.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The name of its folder: `0001`."""
        return self.folder.name

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return int(self.name)

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """`run.json`, whichever version wrote it; empty before the first start."""
        try:
            return read_object(self.folder / RUN_RECORD, _ADVICE)
        except FileNotFoundError:
            return {}

    @cached_property
    def record(self) -> RunRecord:
        """What `run.json` says, as far as this version knows it."""
        data = _fields(self.data, RunRecord)
        attempts = data.get("attempts")
        if isinstance(attempts, list):
            data["attempts"] = [_attempt(each) for each in attempts]
        return structured(data, RunRecord, str(self.folder / RUN_RECORD), _ADVICE)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Each start of it, oldest first."""
        return self.record.attempts

    @property
    def status(self) -> str:
        """`new`, `running`, `complete`, `stopped` or `failed`, as it is now.

        A killed process can't record its end: a run that is recorded as running but locked by no
        process has failed.
        """
        recorded = self.record.status
        return "failed" if recorded == "running" and not is_locked(self.folder) else recorded

    @property
    def reason(self) -> str | None:
        """Why it was stopped or failed; None if it was neither."""
        if self.status not in ("stopped", "failed"):
            return None
        reason = self.attempts[-1].reason if self.attempts else None
        return reason or "its process was killed, or its machine went down"

    @property
    def is_complete(self) -> bool:
        """Whether it has been trained to the end."""
        return self.record.status == "complete"

    def metrics(self) -> Iterator[Row]:
        """The rows of `metrics.jsonl`, one a step; read anew by each call."""
        return read_metrics(self.folder / RUN_METRICS)

    def last_metrics(self) -> Row | None:
        """The last row of `metrics.jsonl`, found without reading those before."""
        path = self.folder / RUN_METRICS
        try:
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unreadable(path, error, _ADVICE) from None
        finished = [line for line in lines if line.endswith(b"\n")]
        return parse_object(finished[-1], str(path), _ADVICE) if finished else None

    @property
    def checkpoints(self) -> tuple[Path, ...]:
        """The folders of its checkpoints, oldest first."""
        return tuple(sorted(self.folder.glob(f"{RUN_CHECKPOINTS}/[!.]*")))

    @property
    def adapter(self) -> Path | None:
        """The folder of the trained LoRA adapter; None if there is none."""
        folder = self.folder / RUN_ADAPTER
        return folder if folder.is_dir() else None


def read_metrics(path: Path) -> Iterator[Row]:
    """The rows of a `metrics.jsonl`; none if there is no such file.

    A last line that a killed process left unfinished isn't a row.

    Raises:
        DamagedFile: another line isn't a row.
    """
    with contextlib.suppress(FileNotFoundError):
        for number, row in read_rows(path, _ADVICE, is_growing=True):
            if not isinstance(row.get("step"), int):
                raise DamagedFile(f"{at_line(path, number)}: step is missing: {_ADVICE}")
            yield row


def list_runs(folder: Path) -> tuple[Run, ...]:
    """The runs in a folder of runs, oldest first."""
    if not folder.is_dir():
        return ()
    paths = [path for path in folder.iterdir() if is_run_name(path.name) and path.is_dir()]
    return tuple(Run(path) for path in sorted(paths, key=lambda path: int(path.name)))


def _fields(data: Mapping[str, Any], cls: type) -> dict[str, Any]:
    return {name: data[name] for name in fields_dict(cls) if name in data}


def _attempt(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    values = _fields(data, Attempt)
    if isinstance(values.get("drift"), list):
        # Version 0.1 recorded each drift as a sentence.
        values["drift"] = [drift for drift in values["drift"] if not isinstance(drift, str)]
    return values
