"""What a run writes beside its checkpoints and its result."""

from collections.abc import Sequence

from attrs import frozen

from cvbundle.bundle.run import Row
from cvbundle.training.metrics import Metrics
from cvbundle.training.progress import Reporter
from cvbundle.training.record import Record
from cvbundle.training.trackers import NO_TRACKERS, Trackers


@frozen(kw_only=True)
class Outputs:
    """The log, `run.json`, `metrics.jsonl` and the trackers of a run."""

    reporter: Reporter
    record: Record
    metrics: Metrics | None = None
    """None until the first step is known, and in processes that don't write."""
    trackers: Trackers = NO_TRACKERS

    def add(self, rows: Sequence[Row]) -> None:
        """Write steps to the metrics and the trackers, and the last of them to the log."""
        if self.metrics is not None:
            self.metrics.write(rows)
        if rows:
            self.reporter.log(_line(rows[-1]))
        for row in rows:
            points = {"loss": row["loss"], "grad_norm": row["grad_norm"], "lr": row["lr"]}
            self.trackers.log(points, step=row["step"])

    def sync(self) -> None:
        """Flush the metrics to the disk: a checkpoint must not outlive the rows before it."""
        if self.metrics is not None:
            self.metrics.sync()


def _line(row: Row) -> str:
    """A step as a line of the log."""
    norm = "overflowed" if row["grad_norm"] is None else f"{row['grad_norm']:.4g}"
    return f"step {row['step']}: loss {row['loss']:.6g}, gradient norm {norm}, lr {row['lr']:.4g}"
