"""Check a clip by decoding it, as training will."""

from fractions import Fraction
from typing import BinaryIO

import av
from attrs import frozen

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.container import open_clip
from cvbundle.dataset.limits import CpuTime, too_much_memory
from cvbundle.dataset.orientation import Orientation, orientation_of

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


def first_picture(file: BinaryIO, head: bytes, time: CpuTime) -> Picture:
    """Decode the first frame of a clip that begins with `head`.

    Raises:
        BadClip: it can't be decoded.
    """
    return _decode(file, head, time, 1).picture


def decode_all(file: BinaryIO, head: bytes, time: CpuTime) -> Decoded:
    """Decode a whole clip that begins with `head`.

    Raises:
        BadClip: a frame can't be decoded, is damaged, or has another size than the first; or the
            clip takes too long.
    """
    return _decode(file, head, time, None)


def _decode(file: BinaryIO, head: bytes, time: CpuTime, limit: int | None) -> Decoded:
    file.seek(0)
    picture: Picture | None = None
    shown: list[int | None] = []
    with open_clip(file, head, _ONE_THREAD) as opened:
        stream = opened.stream
        stream.thread_type = "NONE"
        try:
            for frame in opened.container.decode(stream):
                time.check()
                current = Picture(
                    frame.height, frame.width, stream.sample_aspect_ratio, orientation_of(frame)
                )
                picture = picture or current
                shown.append(frame.pts)
                if current != picture:
                    raise BadClip("clip-unreadable", f"changes its size at frame {len(shown)}")
                if frame.is_corrupt:
                    raise BadClip("clip-unreadable", f"is damaged at frame {len(shown)}")
                if len(shown) == limit:
                    break
        except MemoryError:
            # FFmpeg's too, which is an FFmpegError as well.
            raise too_much_memory() from None
        except av.error.FFmpegError as error:
            where = f"frame {len(shown) + 1} can't be decoded ({error.strerror})"
            raise BadClip("clip-unreadable", f"is damaged: {where}") from None
    if picture is None:
        raise BadClip("clip-unreadable", "has no frame that can be decoded")
    stated = tuple(sorted(at for at in shown if at is not None))
    return Decoded(picture, len(shown), stated if len(stated) == len(shown) else ())
