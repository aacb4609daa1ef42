"""What goes between host and device, and where the host waits for the device."""

import traceback
from pathlib import Path
from typing import Literal

from attrs import Factory, define, frozen

_HERE = str(Path(__file__).parent)


@frozen
class Copy:
    """One copy between host and device."""

    to: Literal["device", "host"]
    bytes: int
    non_blocking: bool
    pinned: bool
    """Whether the host's side is page-locked: only then can a copy be left to itself."""
    place: str
    """The line that asked for it."""


@frozen
class Sync:
    """The host waits until the device has done all that was asked of it."""

    operator: str
    place: str


@define
class Traffic:
    """All copies and waits since the device was installed, in order."""

    copies: list[Copy] = Factory(list)
    syncs: list[Sync] = Factory(list)

    def restart(self) -> None:
        """Begin to count anew."""
        self.copies.clear()
        self.syncs.clear()

    def waits(self, operator: str) -> None:
        """Note a wait."""
        self.syncs.append(Sync(operator, place()))


def place() -> str:
    """The innermost line that is neither torch's nor the device's."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and not frame.filename.startswith(_HERE):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "?"


TRAFFIC = Traffic()
