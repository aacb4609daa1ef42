"""What is said of a process that a signal has ended, which itself can say nothing.

Mostly it is the kernel, for want of memory. It counts how often it does that: of a control group in
`memory.events` or `memory.oom_control` (docs.kernel.org, "Control Group v2" and "Memory Resource
Controller"), of the whole machine in `/proc/vmstat`.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

_VMSTAT = Path("/proc/vmstat")
_GROUPS = Path("/proc/self/cgroup")
_CGROUP = Path("/sys/fs/cgroup")


class OomKills:
    """How often the kernel has ended a process for want of memory since this was made."""

    def __init__(self) -> None:
        self._before = dict(_counts())

    def place(self) -> str | None:
        """What says that it did; None where nothing does."""
        for path, count in _counts():
            if count > self._before.get(path, count):
                return str(path)
        return None


def killed_by(number: int, kills: OomKills) -> str:
    """How a process ended that a signal has killed."""
    if number != signal.SIGKILL:
        return f"was killed by signal {number} ({signal.strsignal(number)})"
    place = kills.place()
    if place is None:
        return "was killed by signal 9 (out of memory?)"
    return f"was killed by signal 9: the kernel was out of memory (oom_kill in {place})"


def _counts() -> Iterator[tuple[Path, int]]:
    """Each counter that can be read here, the nearest first."""
    for path in (*_group_files(), _VMSTAT):
        try:
            lines = path.read_text().splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                yield path, int(count)


def _group_files() -> Iterator[Path]:
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        inside = group.lstrip("/")
        if not controllers:
            yield _CGROUP / inside / "memory.events"
        elif "memory" in controllers.split(","):
            yield _CGROUP / "memory" / inside / "memory.oom_control"
