"""Open a clip and say what it holds, without decoding all of it."""

import hashlib
import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from attrs import frozen

from cvbundle.dataset.container import BadClip


@frozen(kw_only=True)
class Probed:
    """What a clip's file holds."""

    digest: str
    size: int
    codec: str
    frames: int
    fps: Fraction
    duration: Fraction
    """Seconds."""
    height: int
    width: int
    """Pixels as displayed."""
    rotation: int
    variable: bool


def probe(path: Path) -> Probed:
    """Read a clip once: its digest, and what its container and stream say.

    Raises:
        BadClip: it has no video that can be decoded, or less of it than it says.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadClip("clip-unreadable", f"can't be read ({error.strerror})") from None
    if not content:
        raise BadClip("clip-unreadable", "is empty")
    digest = hashlib.sha256(content).hexdigest()
    try:
        return _opened(content, digest)
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadClip("clip-unreadable", f"is no video that can be decoded ({reason})") from None


def _opened(content: bytes, digest: str) -> Probed:
    with av.open(io.BytesIO(content), mode="r") as container:
        if not container.streams.video:
            raise BadClip("clip-unreadable", "has no video stream")
        stream = container.streams.video[0]
        times: list[int] = []
        end = 0
        for packet in container.demux(stream):
            if packet.size:
                times.append(packet.pts if packet.pts is not None else len(times))
                end = max(end, (packet.pos or 0) + packet.size)
        claimed = stream.frames
        codec = stream.codec_context.name
        height, width = stream.codec_context.height, stream.codec_context.width
        aspect = stream.sample_aspect_ratio or Fraction(1)
        fps = stream.average_rate or stream.guessed_rate or Fraction(0)
        time_base = stream.time_base or Fraction(1)
    if not times:
        raise BadClip("clip-unreadable", "has no frames")
    if end > len(content) or len(times) < claimed:
        reason = f"is cut off: {len(times)} of {claimed} frames are there"
        raise BadClip("clip-truncated", reason)
    first = _first_frame(content)
    rotation = first.rotation % 360
    shown_width = round(width * aspect)
    if rotation % 180:
        height, shown_width = shown_width, height
    times.sort()
    gaps = {later - earlier for earlier, later in pairwise(times)}
    step = min(gaps, default=0)
    return Probed(
        digest=digest,
        size=len(content),
        codec=codec,
        frames=len(times),
        fps=fps,
        duration=(times[-1] - times[0] + step) * time_base,
        height=height,
        width=shown_width,
        rotation=rotation,
        variable=bool(gaps) and max(gaps) - step > 1,
    )


def _first_frame(content: bytes) -> av.VideoFrame:
    with av.open(io.BytesIO(content), mode="r") as container:
        for frame in container.decode(video=0):
            return frame
    raise BadClip("clip-unreadable", "has no frame that can be decoded")
