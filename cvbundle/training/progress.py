"""The progress of a run: one live line in a terminal, plain lines elsewhere, and a log file."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from cvbundle.bundle.layout import RUN_LOG
from cvbundle.problems import printable

_PLAIN_SECONDS = 10.0
"""Time between two lines of one phase where there is no terminal."""


class Reporter:
    """Writes to stderr and to the run's log; silent on all processes but the first."""

    def __init__(self, run: Path, *, speaks: bool) -> None:
        self._file = (run / RUN_LOG).open("a", encoding="utf-8") if speaks else None
        self._live = speaks and sys.stderr.isatty()

    def print(self, text: str) -> None:
        """Write a line to stderr and to the log."""
        text = printable(text, keep="\n")
        self.log(text)
        if self._file is not None:
            tqdm.write(text, file=sys.stderr)

    def log(self, text: str) -> None:
        """Write a line to the log."""
        if self._file is not None:
            shown = printable(text, keep="\n")
            self._file.write(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {shown}\n")
            self._file.flush()

    @contextmanager
    def phase(self, name: str, total: int, done: int = 0, unit: str = "step") -> Iterator["Phase"]:
        """Show the progress of a phase, from `done` to `total` units."""
        phase = Phase(self, name, total, done, unit, live=self._live, shown=self._file is not None)
        try:
            yield phase
        finally:
            phase.close()

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()


class Phase:
    """A part of a run whose length is known."""

    def __init__(
        self,
        reporter: Reporter,
        name: str,
        total: int,
        done: int,
        unit: str,
        *,
        live: bool,
        shown: bool,
    ) -> None:
        self._reporter = reporter
        self._name, self._total, self._unit = name, total, unit
        self._first = self._done = done
        self._began = self._printed = time.monotonic()
        self._note = ""
        self._shown = shown and not live
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=name,
            unit=unit,
            disable=not live,
            dynamic_ncols=True,
            smoothing=0.1,
            file=sys.stderr,
        )

    def advance(self, note: str = "") -> None:
        """Count one unit; `note` is shown beside the count."""
        self._done += 1
        self._note = note or self._note
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._shown and (now - self._printed >= _PLAIN_SECONDS or self._done == self._total):
            self._printed = now
            self._reporter.print(self._line(now))

    def _line(self, now: float) -> str:
        made = self._done - self._first
        rate = made / max(now - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        parts = [
            f"{self._name} {self._done}/{self._total}",
            self._note,
            f"{rate:.2f} {self._unit}/s",
        ]
        if left:
            parts.append(f"{tqdm.format_interval(left)} left")
        return ", ".join(part for part in parts if part)

    def close(self) -> None:
        """End the phase."""
        self._bar.close()
