"""The orientation of a clip's frames, from the container's display matrix."""

import struct
from typing import BinaryIO

import av
from attrs import frozen
from av.sidedata.sidedata import SideData

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.truncation import boxes


@frozen
class Orientation:
    """How a stored frame is displayed: rotated first, then mirrored."""

    rotation: int = 0
    """Degrees counter-clockwise: 0, 90, 180 or 270."""
    mirrored: bool = False
    """Whether the frame is flipped horizontally."""


# Degrees by the direction (a, b) to which the matrix maps "right", y downwards.
_ROTATIONS = {(1, 0): 0, (0, -1): 90, (-1, 0): 180, (0, 1): 270}
_IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation of a decoded frame.

    The matrix is nine numbers (a b u c d v x y w); a stored point (x, y) is shown at
    (a x + c y, b x + d y). Source: FFmpeg libavutil/display.h; ISO/IEC 14496-12, 6.2.2.

    Raises:
        BadClip: the matrix shears, or rotates by other than a multiple of 90 degrees.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    right = (_sign(a), _sign(b))
    # After a rotation, "down" is 90 degrees clockwise of "right".
    if right not in _ROTATIONS or (_sign(c), _sign(d)) != (-right[1], right[0]):
        raise BadClip("clip-unreadable", "is sheared, or rotated by other than a multiple of 90°")
    return Orientation(_ROTATIONS[right], mirrored)


def is_unrotated(file: BinaryIO, size: int) -> bool:
    """Whether the frames of an mp4 or mov are certainly displayed as stored.

    Checks every occurrence of a movie or track header in the index, so only false can be wrong.
    """
    index = [(start, end) for kind, start, end in boxes(file, size) if kind == b"moov"]
    if len(index) != 1:
        return False
    file.seek(index[0][0])
    content = file.read(index[0][1] - index[0][0])
    return _all_identity(content, b"mvhd", 36, 48) and _all_identity(content, b"tkhd", 40, 52)


def _all_identity(content: bytes, kind: bytes, short: int, long: int) -> bool:
    """Whether there are boxes of this kind and all have the identity matrix.

    `short` and `long` are the bytes from a box's version to its matrix in versions 0 and 1.
    """
    at, found = content.find(kind), False
    while at >= 0:
        start = at + 4 + (long if content[at + 4 : at + 5] == b"\1" else short)
        if content[start : start + 36] != _IDENTITY:
            return False
        at, found = content.find(kind, at + 4), True
    return found


def _sign(value: int) -> int:
    # Half a degree is rounding, not a rotation.
    return 0 if abs(value) < 1 << 9 else 1 if value > 0 else -1
