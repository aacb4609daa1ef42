"""Probe a clip: read it once, and decode only as much as needed to check it.

The result is that of a full decode: every frame is present and undamaged. An mp4 or mov of H.264 or
H.265 whose packets all look intact (`nal`) is not decoded, which takes a hundredth of the time but
misses damage that leaves the stream's structure alone, such as a flipped bit inside a picture.
`Depth.FULL` finds that too.
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

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.container import HEAD, container_format
from cvbundle.dataset.frames import displayed_size
from cvbundle.dataset.full_decode import Decoded, Picture, decode_all, first_picture
from cvbundle.dataset.limits import CpuTime, cpu_seconds
from cvbundle.dataset.nal import Condition
from cvbundle.dataset.orientation import is_unrotated
from cvbundle.dataset.packets import Packets, read_packets
from cvbundle.dataset.truncation import stated_size
from cvbundle.files.identity import identity_of

PROBE_VERSION = 2
"""Incremented when the same bytes give another result, which invalidates cached results."""

_IN_MEMORY = 1 << 26
"""Largest file, in bytes, that is read into memory; a larger one is read again for its digest."""


class Depth(Enum):
    """How much of a clip is decoded to check it."""

    NEEDED = "needed"
    """As much as needed; see the module."""
    FULL = "full"
    """Every frame."""


@frozen(kw_only=True, cache_hash=True)
class Facts:
    """The properties of a clip, which many clips of a dataset share."""

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
    """Why its bytes look damaged although the decoder reports nothing; else empty."""


@frozen
class Probed:
    """A clip's file and its properties."""

    digest: str
    """sha256, in hex."""
    size: int
    """Bytes."""
    facts: Facts


def probe(path: Path, depth: Depth = Depth.NEEDED) -> Probed:
    """Read a clip once: its digest and properties.

    Raises:
        BadClip: it has no video that can be decoded, has fewer frames than it states, or exceeds
            the `limits`.
    """
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise BadClip("clip-unreadable", "is not a file")
            if not before.st_size:
                raise BadClip("clip-unreadable", "is empty")
            probed = _read(file, before.st_size, depth)
            after = path.stat()
    except OSError as error:
        reason = f"can't be read ({error.strerror})"
        raise BadClip("clip-unreadable", reason, lasting=False) from None
    if not identity_of(before).has_content_of(identity_of(after)):
        raise BadClip("clip-unreadable", "changed while it was read", lasting=False)
    return probed


def probe_bytes(content: bytes, depth: Depth = Depth.NEEDED) -> Probed:
    """Probe a clip in memory.

    Raises:
        BadClip: see `probe`.
    """
    digest = hashlib.sha256(content).hexdigest()
    return _check(io.BytesIO(content), len(content), digest, depth)


def _read(file: BinaryIO, size: int, depth: Depth) -> Probed:
    if size <= _IN_MEMORY:
        return probe_bytes(file.read(), depth)
    digest = hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    return _check(file, size, digest, depth)


def _check(file: BinaryIO, size: int, digest: str, depth: Depth) -> Probed:
    file.seek(0)
    time = CpuTime(cpu_seconds(size))
    head = file.read(HEAD)
    container = container_format(head)
    if container and (stated := stated_size(file, size, container)) > size:
        raise BadClip("clip-truncated", f"is truncated: {size} of {stated} bytes are present")
    packets = read_packets(file, head, time)
    if packets.present < packets.claimed:
        raise _missing_frames(packets.present, packets.claimed)
    picture = None
    if depth is Depth.NEEDED and packets.condition is Condition.INTACT and packets.times:
        picture = _picture(file, size, head, packets, time)
    if picture is not None:
        decoded = Decoded(picture, len(packets.times), packets.times)
        return Probed(digest, size, _facts(packets, decoded))
    decoded = decode_all(file, head, time)
    if packets.one_frame_each and decoded.frames < len(packets.times):
        raise _missing_frames(decoded.frames, len(packets.times))
    suspicion = _DAMAGED if packets.condition is Condition.DAMAGED else ""
    return Probed(digest, size, _facts(packets, decoded, suspicion))


_DAMAGED = "contains bytes that no encoder writes, though its decoder reports nothing"


def _missing_frames(present: int, claimed: int) -> BadClip:
    return BadClip("clip-truncated", f"has {present} of the {claimed} frames in its index")


def _picture(
    file: BinaryIO, size: int, head: bytes, packets: Packets, time: CpuTime
) -> Picture | None:
    """How a clip's frames are displayed, from its first one; None if it can't be decoded.

    Clips with the same header come from the same encoder at the same size, so the first frame of
    one is enough for all of them.
    """
    key = (packets.codec, packets.parameters, packets.height, packets.width, packets.aspect)
    cacheable = is_unrotated(file, size)
    if cacheable and key in _pictures:
        return _pictures[key]
    try:
        picture = first_picture(file, head, time)
    except BadClip:
        return None
    if cacheable:
        if len(_pictures) >= _MAX_PICTURES:
            _pictures.clear()
        _pictures[key] = picture
    return picture


_MAX_PICTURES = 4096
_pictures: dict[tuple[str, bytes, int, int, Fraction | None], Picture] = {}


def _facts(packets: Packets, decoded: Decoded, suspicion: str = "") -> Facts:
    picture, times = decoded.picture, decoded.times or packets.times or (0,)
    rotation = picture.orientation.rotation
    height, width = displayed_size(picture.height, picture.width, picture.aspect, rotation)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # The last frame's own duration, if the container states it.
    last = max(packets.end - times[-1], 0) or min(gaps, default=0)
    duration = (times[-1] - times[0] + last) * packets.time_base
    rate = packets.rate or (Fraction(decoded.frames) / duration if duration else Fraction(0))
    return Facts(
        codec=packets.codec,
        frames=decoded.frames,
        # With a time base of a millisecond, 30000/1001 is only approximate.
        fps=str(rate.limit_denominator(1001)),
        duration=round(float(duration), 6),
        height=height,
        width=width,
        rotation=rotation,
        mirrored=picture.orientation.mirrored,
        # Gaps may differ by one because times are rounded to the time base.
        variable=bool(gaps) and max(gaps) - min(gaps) > 1,
        suspicion=suspicion,
    )
