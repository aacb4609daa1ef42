"""`metrics.jsonl`: one line a step, the same for every run of a bundle; and the trackers.

`evaluation.jsonl` is a file of the same kind, with a line for each validation.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cvbundle.bundle.layout import RUN_TRACKERS
from cvbundle.bundle.run import Row, read_metrics
from cvbundle.files.digest import canonical_json
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec


class Metrics:
    """Appends rows; holds nothing that depends on the clock, so that two runs can be compared."""

    def __init__(self, path: Path, *, done: int) -> None:
        self._path = path
        rows = [row for row in read_metrics(self._path) if row["step"] <= done]
        # A killed run may have got further than the checkpoint that it goes on from.
        write_bytes(self._path, b"".join(canonical_json(row) + b"\n" for row in rows))
        self._file = self._path.open("ab")
        self.steps = {int(row["step"]) for row in rows}
        """The steps that have a row already."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, whole lines at once."""
        self._file.write(b"".join(canonical_json(row) + b"\n" for row in rows))
        self._file.flush()

    def sync(self) -> None:
        """What was written is on the disk: a checkpoint must not outlive the rows before it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def start_trackers(accelerator: Any, spec: Spec, run: Path, done: int) -> None:
    """Open the spec's trackers, through accelerate.

    Raises:
        UserError: a tracker's package is not installed.
    """
    missing = set(spec.tracking.report_to) - {str(kind) for kind in accelerator.log_with}
    if missing:
        raise UserError(
            f"tracker {', '.join(sorted(missing))} is not installed: "
            "pip install it, or change tracking.report_to"
        )
    accelerator.init_trackers(
        spec.tracking.project,
        # Points of an earlier attempt after the step that this one goes on from are dropped.
        init_kwargs={"tensorboard": {"purge_step": done + 1}},
    )


def trackers_folder(run: Path) -> Path:
    """Where trackers that need a folder write."""
    return run / RUN_TRACKERS
