"""Encodings that stay in memory once read, so that an entry is verified once per start.

They stay on the host. A sample's encodings are a few MiB, which come to the device from pinned
memory while the step before is computed; on the device they would take the room of activations.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from torch import Tensor

_SHARE = 8
"""One part in so many of the memory that is free is for encodings, of all processes together."""

_MEMORY = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


class Encodings(Protocol):
    """Where encodings are read from."""

    def read(self, key: str) -> Tensor:
        """An entry's tensor, on the CPU; not to be written to."""


class HeldEncodings:
    """Reads each entry once, as long as there is room; the others at every visit.

    Several threads may read.
    """

    def __init__(self, source: Encodings, room: int) -> None:
        self._source = source
        self._room = room
        """Bytes that may still be held."""
        self._held: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> Tensor:
        """An entry's tensor, on the CPU; not to be written to.

        Raises:
            UserError: its bytes are not what was written.
        """
        tensor = self._held.get(key)
        if tensor is None:
            tensor = self._source.read(key)
            with self._lock:
                if key not in self._held and tensor.nbytes <= self._room:
                    self._held[key] = tensor
                    self._room -= tensor.nbytes
        return tensor


def room_for_encodings(processes: int) -> int:
    """Bytes that each of so many processes on this machine may hold; 0 where nobody can say.

    Source: proc(5), MemAvailable; the kernel's cgroup-v2.rst, memory.max.
    """
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text("ascii").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return 0
    # No container, or one without a limit, says nothing.
    with suppress(OSError, ValueError):
        free = min(free, int(_LIMIT.read_text("ascii")) - int(_USED.read_text("ascii")))
    return max(0, free) // (_SHARE * processes)
