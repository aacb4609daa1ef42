"""How a container wants its frames turned and mirrored, from its display matrix."""

import struct
from typing import BinaryIO

import av
from attrs import frozen
from av.sidedata.sidedata import SideData

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.ending import boxes
from cvbundle.dataset.rules import CLIP_UNREADABLE


@frozen
class Turn:
    """What is done to a stored frame to show it: turned first, then mirrored."""

    rotation: int = 0
    """Degrees counter-clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether left and right are swapped."""


# Where the matrix sends the way to the right: (a, b), y downwards.
_ROTATIONS = {(1, 0): 0, (0, -1): 90, (-1, 0): 180, (0, 1): 270}
_PLAIN = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def turn_of(frame: av.VideoFrame) -> Turn:
    """How a decoded frame is to be shown.

    The matrix is nine numbers (a b u c d v x y w); a stored point (x, y) is shown at
    (a x + c y, b x + d y). Source: FFmpeg libavutil/display.h; ISO/IEC 14496-12, 6.2.2.

    Raises:
        BadClip: it is to be turned by less than a quarter, or sheared.
    """
    found = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(found, SideData):
        return Turn()
    a, b, _, c, d = struct.unpack("=5i", bytes(found)[:20])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    right = (_sign(a), _sign(b))
    # Turned, the way down is a quarter clockwise of the way to the right.
    if right not in _ROTATIONS or (_sign(c), _sign(d)) != (-right[1], right[0]):
        raise BadClip(CLIP_UNREADABLE, "is shown turned by less than a quarter, or sheared")
    return Turn(_ROTATIONS[right], mirrored)


def is_plain(file: BinaryIO, size: int) -> bool:
    """Whether an mp4 or mov surely wants its frames as they are stored.

    Looks at the matrix of the film and of every track wherever they may stand in the index, so it
    may be wrong only in saying no.
    """
    index = [(start, end) for kind, start, end in boxes(file, size) if kind == b"moov"]
    if len(index) != 1:
        return False
    file.seek(index[0][0])
    content = file.read(index[0][1] - index[0][0])
    return _all_plain(content, b"mvhd", 36, 48) and _all_plain(content, b"tkhd", 40, 52)


def _all_plain(content: bytes, kind: bytes, short: int, long: int) -> bool:
    """Whether a box of this kind stands there and each has the plain matrix.

    `short` and `long` are the bytes from the box's version to its matrix in versions 0 and 1.
    """
    at, found = content.find(kind), False
    while at >= 0:
        start = at + 4 + (long if content[at + 4 : at + 5] == b"\1" else short)
        if content[start : start + 36] != _PLAIN:
            return False
        at, found = content.find(kind, at + 4), True
    return found


def _sign(value: int) -> int:
    # Half a degree of rounding is no turn.
    return 0 if abs(value) < 1 << 9 else 1 if value > 0 else -1
