"""What came of a run, from its record and its metrics."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.bundle.layout import RUN_METRICS
from cvbundle.bundle.runs import Run

_TAIL = 1 << 16
"""Bytes of a metrics file that surely hold its last line."""


@frozen(kw_only=True)
class Result:
    """A run in figures."""

    run: str
    """The name of its folder."""
    status: str
    reason: str | None
    """Why it was stopped or has failed."""
    steps: int
    """Steps that it has done."""
    final_loss: float | None
    best_loss: float | None
    seconds: float
    """Wall time of all its phases, over all attempts."""
    seconds_a_step: float | None
    """Measured, without checkpoints and validations; None where no step is done."""
    peak_memory: Mapping[str, Mapping[str, int]]
    """By phase, bytes that the device's allocator held: `allocated` and `reserved`; none on a CPU.
    """
    digests: Mapping[str, str]
    """sha256 of each file of the result, by its path in the run."""


def result_of(run: Run) -> Result:
    """A run's figures as far as it has got."""
    rows = [row for row in read_rows(run.folder) if "loss" in row]
    losses = [row["loss"] for row in rows]
    return Result(
        run=run.folder.name,
        status=run.status,
        reason=run.reason,
        steps=rows[-1]["step"] if rows else 0,
        final_loss=losses[-1] if losses else None,
        best_loss=min(losses) if losses else None,
        seconds=round(sum(run.record.get("phases", {}).values()), 3),
        seconds_a_step=run.record.get("seconds_a_step"),
        peak_memory=run.record.get("peak_memory", {}),
        digests=run.record.get("digests", {}),
    )


def read_rows(run: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; one that is not finished is none."""
    try:
        with (run / RUN_METRICS).open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)
    except FileNotFoundError:
        return


def last_loss(run: Path) -> float | None:
    """The loss of a run's last step, without reading those before."""
    try:
        with (run / RUN_METRICS).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    whole = [line for line in lines if line.endswith(b"\n")]
    loss: float | None = json.loads(whole[-1]).get("loss") if whole else None
    return loss
