"""`metrics.jsonl`: one line a step, the same for every run of a bundle.

`evaluation.jsonl` is a file of the same kind, with a line for each validation.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from cvbundle.bundle.run import Row, read_metrics
from cvbundle.files.digest import canonical_json
from cvbundle.files.durable import write_bytes


class Metrics:
    """Appends rows; they contain nothing that depends on the clock, so two runs can be compared."""

    def __init__(self, path: Path, *, done: int) -> None:
        self._path = path
        rows = [row for row in read_metrics(self._path) if row["step"] <= done]
        # A killed run may have got further than the checkpoint that this one resumes from.
        write_bytes(self._path, b"".join(canonical_json(row) + b"\n" for row in rows))
        self._file = self._path.open("ab")
        self.steps = {int(row["step"]) for row in rows}
        """The steps that already have a row."""

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, whole lines at once."""
        self._file.write(b"".join(canonical_json(row) + b"\n" for row in rows))
        self._file.flush()

    def sync(self) -> None:
        """Flush to the disk: a checkpoint must not outlive the rows before it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
