"""Check a clip by decoding it, as training will."""

from fractions import Fraction
from typing import BinaryIO

import av
from attrs import frozen

from cvbundle.dataset.container import BadClip, open_clip
from cvbundle.dataset.orientation import Orientation, orientation_of
from cvbundle.dataset.rules import CLIP_UNREADABLE

# Many clips are decoded at a time, one thread each.
_ONE_THREAD = {"threads": "1"}


@frozen
class Picture:
    """How the frames of a clip are stored and displayed."""

    height: int
    width: int
    """Pixels as stored."""
    aspect: Fraction | None
    """Sample aspect ratio, width over height; None if not stated."""
    orientation: Orientation


@frozen
class Decoded:
    """The output of a clip's decoder."""

    picture: Picture
    frames: int
    times: tuple[int, ...]
    """When each frame is shown, in units of the stream's time base; empty if not stated."""


def first_picture(file: BinaryIO, head: bytes) -> Picture:
    """Decode the first frame of a clip that begins with `head`.

    Raises:
        BadClip: it can't be decoded.
    """
    return _decode(file, head, 1).picture


def decode_all(file: BinaryIO, head: bytes) -> Decoded:
    """Decode a whole clip that begins with `head`.

    Raises:
        BadClip: a frame can't be decoded, is damaged, or has another size than the first.
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
                current = Picture(
                    frame.height, frame.width, stream.sample_aspect_ratio, orientation_of(frame)
                )
                picture = picture or current
                times.append(frame.pts)
                if current != picture:
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
    stated = tuple(sorted(time for time in times if time is not None))
    return Decoded(picture, len(times), stated if len(stated) == len(times) else ())
