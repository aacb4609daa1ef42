"""`run.json`: when, where and with what a run was trained, each start and stop, and its result."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cvbundle.bundle.layout import RUN_RECORD
from cvbundle.bundle.run import Run
from cvbundle.files.digest import json_file
from cvbundle.files.durable import write_bytes
from cvbundle.training.measured import DeviceMemory


class Record:
    """A run's record, written whole at every change."""

    def __init__(self, run: Path, memory: DeviceMemory, **facts: object) -> None:
        self._path = run / RUN_RECORD
        self._memory = memory
        self.data: dict[str, Any] = {"attempts": [], "phases": {}, **Run(run).data, **facts}

    def start(self, **where: object) -> None:
        """Record that a process begins or continues the run."""
        self.data["status"] = "running"
        self.data["attempts"].append(
            {
                "started": _now(),
                "host": platform.node(),
                "pid": os.getpid(),
                "platform": platform.platform(),
                **where,
            }
        )
        self._write()

    def note(self, **facts: object) -> None:
        """Add to the record of the current attempt."""
        self.data["attempts"][-1].update(facts)
        self._write()

    def stop(self, status: str, reason: str, **facts: object) -> None:
        """Record that the process ends; `status` is complete, stopped or failed."""
        self.data["status"] = status
        self.data.update(facts)
        self.note(stopped=_now(), reason=reason)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to the seconds of a phase, over all attempts.

        The phase's peak memory is the most of all its blocks.
        """
        began = time.monotonic()
        self._memory.begin()
        try:
            yield
        finally:
            spent = self.data["phases"].get(name, 0.0) + time.monotonic() - began
            self.data["phases"][name] = round(spent, 3)
            for kind, size in self._memory.peak().items():
                peaks = self.data.setdefault("peak_memory", {}).setdefault(name, {})
                peaks[kind] = max(size, peaks.get(kind, 0))

    def _write(self) -> None:
        write_bytes(self._path, json_file(self.data))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
