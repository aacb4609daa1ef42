"""Signs of damage in H.264 and H.265 data that need no decoding.

A packet of an mp4 is a row of NAL units, each after its length. No encoder writes two zero bytes
followed by 0, 1 or 2 inside of one, because those mark the start of a unit elsewhere.
Sources: ISO/IEC 14496-15 (storage); ITU-T H.264 and H.265, 7.3.1 and 7.4.1 (emulation prevention).
"""

import re
from enum import Enum, IntEnum

from attrs import frozen

_NEVER_WRITTEN = re.compile(rb"\0\0[\0-\2]")


@frozen
class NalFormat:
    """How NAL units stand in a stream's packets."""

    hevc: bool
    length_size: int
    """Bytes of the length before each unit."""
    parameters: bytes
    """The parameter sets that hold for the whole stream (`avcC` or `hvcC`)."""


def nal_format(codec: str, extradata: bytes | None) -> NalFormat | None:
    """How to read a stream's packets; None where they aren't units after their lengths."""
    if not extradata or extradata[0] != 1:
        return None
    if codec == "h264" and len(extradata) > 6:
        return NalFormat(False, (extradata[4] & 3) + 1, extradata)
    if codec == "hevc" and len(extradata) > 22:
        return NalFormat(True, (extradata[21] & 3) + 1, extradata)
    return None


class Look(IntEnum):
    """What a packet looks like without decoding it, from good to bad."""

    SOUND = 0
    ODD = 1
    """Not the plain case; nothing speaks for damage."""
    DAMAGED = 2
    """As no encoder writes it."""


def look_at(packet: bytes, nal: NalFormat, *, first: bool) -> Look:
    """Look whether a packet is whole units that make one picture.

    The first picture of a stream must also be one from which decoding can start.
    """
    at, end = 0, len(packet)
    pictures, looks = 0, Look.SOUND
    while at < end:
        start = at + nal.length_size
        at = start + int.from_bytes(packet[at:start], "big")
        if at > end or at <= start + 2 or packet[start] & 0x80:
            return Look.DAMAGED
        unit = _unit(packet[start], nal)
        if unit is _Unit.PICTURE or unit is _Unit.RESTART:
            # The first bit of a slice's header: it begins its picture.
            pictures += packet[start + (2 if nal.hevc else 1)] >> 7
            if found := _NEVER_WRITTEN.search(packet, start, at):
                # Zeros at the end of a unit may be padding.
                if packet[found.start() : at].rstrip(b"\0"):
                    return Look.DAMAGED
                looks = Look.ODD
            if first and unit is not _Unit.RESTART:
                looks = Look.ODD
        elif unit is _Unit.PARAMETERS and packet[start:at] not in nal.parameters:
            looks = Look.ODD
    return looks if pictures == 1 else Look.ODD


class _Unit(Enum):
    PICTURE = 1
    RESTART = 2
    """A picture before which nothing is needed."""
    PARAMETERS = 3
    OTHER = 4


def _unit(header: int, nal: NalFormat) -> _Unit:
    """The kind of a unit (H.264 table 7-1, H.265 table 7-1)."""
    kind = header >> 1 if nal.hevc else header & 31
    if kind in ((19, 20) if nal.hevc else (5,)):
        return _Unit.RESTART
    if kind < 32 if nal.hevc else 1 <= kind <= 5:
        return _Unit.PICTURE
    return _Unit.PARAMETERS if kind == (33 if nal.hevc else 7) else _Unit.OTHER
