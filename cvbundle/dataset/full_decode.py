"""Judge a clip by decoding it, the way that training will."""

from fractions import Fraction
from typing import BinaryIO

import av
from attrs import frozen

from cvbundle.dataset.container import BadClip, open_clip
from cvbundle.dataset.rules import CLIP_UNREADABLE
from cvbundle.dataset.turning import Turn, turn_of

# Clips are judged many at a time, one thread each.
_ONE_THREAD = {"threads": "1"}


@frozen
class Picture:
    """How the frames of a clip are stored and to be shown."""

    height: int
    width: int
    """Pixels as stored."""
    aspect: Fraction | None
    """Width of a pixel over its height; None where the clip doesn't say."""
    turn: Turn


@frozen
class Decoded:
    """What came out of a clip's decoder."""

    picture: Picture
    frames: int
    times: tuple[int, ...]
    """When each frame is shown, in units of the stream's time base; empty where that isn't said."""


def first_picture(file: BinaryIO, head: bytes) -> Picture:
    """Decode one frame of a clip that begins with `head`.

    Raises:
        BadClip: it can't be decoded.
    """
    return _decode(file, head, 1).picture


def decode_all(file: BinaryIO, head: bytes) -> Decoded:
    """Decode a whole clip that begins with `head`.

    Raises:
        BadClip: a frame of it can't be decoded, is damaged, or has another size than the first.
    """
    return _decode(file, head, None)


def _decode(file: BinaryIO, head: bytes, limit: int | None) -> Decoded:
    file.seek(0)
    picture: Picture | None = None
    times: list[int | None] = []
    with open_clip(file, head, _ONE_THREAD) as opened:
        stream = opened.stream
        stream.thread_type = "NONE"
        try:
            for frame in opened.container.decode(stream):
                seen = Picture(
                    frame.height, frame.width, stream.sample_aspect_ratio, turn_of(frame)
                )
                picture = picture or seen
                times.append(frame.pts)
                if seen != picture:
                    raise BadClip(CLIP_UNREADABLE, f"changes its size at frame {len(times)}")
                if frame.is_corrupt:
                    raise BadClip(CLIP_UNREADABLE, f"is damaged at frame {len(times)}")
                if len(times) == limit:
                    break
        except av.error.FFmpegError as error:
            where = f"frame {len(times) + 1} can't be decoded ({error.strerror})"
            raise BadClip(CLIP_UNREADABLE, f"is damaged: {where}") from None
    if picture is None:
        raise BadClip(CLIP_UNREADABLE, "has no frame that can be decoded")
    known = tuple(sorted(time for time in times if time is not None))
    return Decoded(picture, len(times), known if len(known) == len(times) else ())
