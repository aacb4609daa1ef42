"""Detect damage in H.264 and H.265 data without decoding.

A packet of an mp4 is a sequence of NAL units, each preceded by its length. No encoder writes two
zero bytes followed by 0, 1 or 2 inside a unit: elsewhere these mark the start of one.
Sources: ISO/IEC 14496-15 (storage); ITU-T H.264 and H.265, 7.3.1 and 7.4.1 (emulation prevention).
"""

import re
from enum import Enum, IntEnum

from attrs import frozen

_NEVER_WRITTEN = re.compile(rb"\0\0[\0-\2]")


@frozen
class NalFormat:
    """How NAL units are stored in a stream's packets."""

    hevc: bool
    length_size: int
    """Bytes of the length field before each unit."""
    parameters: bytes
    """The parameter sets of the whole stream (`avcC` or `hvcC`)."""


def nal_format(codec: str, extradata: bytes | None) -> NalFormat | None:
    """How to read a stream's packets; None if they aren't length-prefixed NAL units."""
    if not extradata or extradata[0] != 1:
        return None
    if codec == "h264" and len(extradata) > 6:
        return NalFormat(False, (extradata[4] & 3) + 1, extradata)
    if codec == "hevc" and len(extradata) > 22:
        return NalFormat(True, (extradata[21] & 3) + 1, extradata)
    return None


class Condition(IntEnum):
    """The condition of a packet as far as it shows without decoding, from good to bad."""

    INTACT = 0
    UNCLEAR = 1
    """Not the common structure, but no sign of damage: needs decoding."""
    DAMAGED = 2
    """Contains bytes that no encoder writes."""


def inspect_packet(packet: bytes, nal: NalFormat, *, first: bool) -> Condition:
    """Check that a packet consists of whole units that make up one picture.

    Decoding must be able to start at the first picture of a stream.
    """
    at, end = 0, len(packet)
    pictures, condition = 0, Condition.INTACT
    while at < end:
        start = at + nal.length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at > end or at <= start + 2 or packet[start] & 0x80:
            return Condition.DAMAGED
        unit = _unit(packet[start], nal)
        if unit is _Unit.PICTURE or unit is _Unit.RESTART:
            # The first bit of a slice header marks the first slice of a picture.
            pictures += packet[start + (2 if nal.hevc else 1)] >> 7
            if match := _NEVER_WRITTEN.search(packet, start, at):
                # Zeros at the end of a unit may be padding.
                if packet[match.start() : at].rstrip(b"\0"):
                    return Condition.DAMAGED
                condition = Condition.UNCLEAR
            if first and unit is not _Unit.RESTART:
                condition = Condition.UNCLEAR
        elif unit is _Unit.PARAMETERS and packet[start:at] not in nal.parameters:
            condition = Condition.UNCLEAR
    return condition if pictures == 1 else Condition.UNCLEAR


class _Unit(Enum):
    PICTURE = 1
    RESTART = 2
    """A picture that needs none of those before it (IDR)."""
    PARAMETERS = 3
    OTHER = 4


def _unit(header: int, nal: NalFormat) -> _Unit:
    """The type of a unit (H.264 table 7-1, H.265 table 7-1)."""
    kind = header >> 1 if nal.hevc else header & 31
    if kind in ((19, 20) if nal.hevc else (5,)):
        return _Unit.RESTART
    if kind < 32 if nal.hevc else 1 <= kind <= 5:
        return _Unit.PICTURE
    return _Unit.PARAMETERS if kind == (33 if nal.hevc else 7) else _Unit.OTHER
