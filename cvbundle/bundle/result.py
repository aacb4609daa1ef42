"""The result of a run in figures, from its record and its metrics."""

from collections.abc import Mapping

from attrs import frozen

from cvbundle.bundle.run import Run


@frozen(kw_only=True)
class Result:
    """A run in figures."""

    run: str
    """The name of its folder."""
    status: str
    reason: str | None
    """Why it was stopped or failed."""
    steps: int
    """Optimizer steps so far."""
    final_loss: float | None
    best_loss: float | None
    seconds: float
    """Wall time of all phases, over all attempts."""
    seconds_a_step: float | None
    """Median, without checkpoints and validations; None before the first step."""
    peak_memory: Mapping[str, Mapping[str, int]]
    """By phase, the bytes that the device's allocator held: `allocated` and `reserved`; empty on a
    CPU."""
    digests: Mapping[str, str]
    """The sha256 of each file of the result, by its path in the run."""


def result_of(run: Run) -> Result:
    """A run's figures so far.

    Raises:
        DamagedFile: its record or its metrics are damaged.
    """
    rows = [row for row in run.metrics() if "loss" in row]
    losses = [row["loss"] for row in rows]
    record = run.record
    return Result(
        run=run.name,
        status=run.status,
        reason=run.reason,
        steps=rows[-1]["step"] if rows else 0,
        final_loss=losses[-1] if losses else None,
        best_loss=min(losses) if losses else None,
        seconds=round(sum(record.phases.values()), 3),
        seconds_a_step=record.seconds_a_step,
        peak_memory=record.peak_memory,
        digests=record.digests,
    )
