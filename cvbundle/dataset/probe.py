"""Open a clip and say what it holds: read once, and decoded only as far as its judgement needs.

The judgement is that of a full decode: every frame comes, none of them damaged. It is had without
one where the container is an mp4 or mov of H.264 or H.265 whose packets all look sound (`nal`):
that takes a hundredth of the time. What it can't see is damage that leaves the stream's structure
as it was, such as a flipped bit inside a picture; `Depth.FULL` does.
"""

import hashlib
import io
import os
import stat
from enum import Enum
from fractions import Fraction
from io import BufferedReader
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

from attrs import frozen

from cvbundle.dataset.container import HEAD, BadClip, container_format
from cvbundle.dataset.ending import stated_size
from cvbundle.dataset.frames import displayed_size
from cvbundle.dataset.full_decode import Decoded, Picture, decode_all, first_picture
from cvbundle.dataset.identity import identity_of, same_content
from cvbundle.dataset.nal import Look
from cvbundle.dataset.packets import Packets, read_packets
from cvbundle.dataset.rules import CLIP_TRUNCATED, CLIP_UNREADABLE
from cvbundle.dataset.turning import is_plain

PROBE_VERSION = 1
"""Raised when the same bytes would be probed differently; cached results of another are dropped."""

_IN_MEMORY = 1 << 26
"""Bytes up to which a file is read whole; a longer one is read in pieces, once for its digest."""


class Depth(Enum):
    """How much of a clip is decoded to judge it."""

    NEEDED = "needed"
    """As much as it takes; see the module."""
    FULL = "full"
    """All of it."""


@frozen(kw_only=True, cache_hash=True)
class Facts:
    """What a clip holds, but for its bytes: the same for many clips of a dataset."""

    codec: str
    frames: int
    fps: str
    """Frames per second, as a fraction."""
    duration: float
    """Seconds."""
    height: int
    width: int
    """Pixels as displayed."""
    rotation: int
    mirrored: bool
    variable: bool
    suspicion: str = ""
    """Why its bytes look damaged although a decoder notices nothing."""


@frozen
class Probed:
    """A clip's file."""

    digest: str
    """sha256, in hex."""
    size: int
    """Bytes."""
    facts: Facts


def probe(path: Path, depth: Depth = Depth.NEEDED) -> Probed:
    """Read a clip once: its digest, and what its container and stream say.

    Raises:
        BadClip: it has no video that can be decoded, or less of it than it says.
    """
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise BadClip(CLIP_UNREADABLE, "is not a file")
            if not before.st_size:
                raise BadClip(CLIP_UNREADABLE, "is empty")
            probed = _read(file, before.st_size, depth)
            after = path.stat()
    except OSError as error:
        reason = f"can't be read ({error.strerror})"
        raise BadClip(CLIP_UNREADABLE, reason, lasting=False) from None
    if not same_content(identity_of(before), identity_of(after)):
        raise BadClip(CLIP_UNREADABLE, "changed while it was read", lasting=False)
    return probed


def probe_bytes(content: bytes, depth: Depth = Depth.NEEDED) -> Probed:
    """The same for a clip in memory.

    Raises:
        BadClip: see `probe`.
    """
    digest = hashlib.sha256(content).hexdigest()
    return _judge(io.BytesIO(content), len(content), digest, depth)


def _read(file: BinaryIO, size: int, depth: Depth) -> Probed:
    if size <= _IN_MEMORY:
        return probe_bytes(file.read(), depth)
    digest = hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    return _judge(file, size, digest, depth)


def _judge(file: BinaryIO, size: int, digest: str, depth: Depth) -> Probed:
    file.seek(0)
    head = file.read(HEAD)
    container = container_format(head)
    if container and (stated := stated_size(file, size, container)) > size:
        raise BadClip(CLIP_TRUNCATED, f"is cut off: {size} of {stated} bytes are there")
    packets = read_packets(file, head)
    if packets.present < packets.claimed:
        raise _lacking(packets.present, packets.claimed)
    picture = None
    if depth is Depth.NEEDED and packets.looks is Look.SOUND and packets.times:
        picture = _known_picture(file, size, head, packets)
    if picture is not None:
        sound = Decoded(picture, len(packets.times), packets.times)
        return Probed(digest, size, _facts(packets, sound))
    decoded = decode_all(file, head)
    if packets.one_frame_each and decoded.frames < len(packets.times):
        raise _lacking(decoded.frames, len(packets.times))
    looks_damaged = packets.looks is Look.DAMAGED
    return Probed(digest, size, _facts(packets, decoded, _UNNOTICED if looks_damaged else ""))


_UNNOTICED = "holds bytes that no encoder writes, though its decoder notices nothing"


def _lacking(present: int, claimed: int) -> BadClip:
    return BadClip(CLIP_TRUNCATED, f"has {present} of the {claimed} frames that its index names")


def _known_picture(file: BinaryIO, size: int, head: bytes, packets: Packets) -> Picture | None:
    """How a clip's frames are shown, told by one frame; None where that can't be decoded.

    Clips with the same header come from the same encoder at the same size, so that one frame of the
    first of them tells for all.
    """
    key = (packets.codec, packets.parameters, packets.height, packets.width, packets.aspect)
    plain = is_plain(file, size)
    if plain and key in _pictures:
        return _pictures[key]
    try:
        picture = first_picture(file, head)
    except BadClip:
        return None
    if plain:
        if len(_pictures) >= _KNOWN:
            _pictures.clear()
        _pictures[key] = picture
    return picture


_KNOWN = 4096
_pictures: dict[tuple[str, bytes, int, int, Fraction | None], Picture] = {}


def _facts(packets: Packets, decoded: Decoded, suspicion: str = "") -> Facts:
    picture, times = decoded.picture, decoded.times or packets.times or (0,)
    turn = picture.turn
    height, width = displayed_size(picture.height, picture.width, picture.aspect, turn.rotation)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # The last frame's own length, where the container knows it.
    last = max(packets.end - times[-1], 0) or min(gaps, default=0)
    duration = (times[-1] - times[0] + last) * packets.time_base
    rate = packets.rate or (Fraction(decoded.frames) / duration if duration else Fraction(0))
    return Facts(
        codec=packets.codec,
        frames=decoded.frames,
        # Time bases of a thousandth of a second only come near to 30000/1001.
        fps=str(rate.limit_denominator(1001)),
        duration=round(float(duration), 6),
        height=height,
        width=width,
        rotation=turn.rotation,
        mirrored=turn.mirrored,
        # Rounding to the time base makes gaps differ by one.
        variable=bool(gaps) and max(gaps) - min(gaps) > 1,
        suspicion=suspicion,
    )
