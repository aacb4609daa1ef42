"""Open the container of a clip: one of six formats, detected by its first bytes, not its name."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import av
from attrs import frozen
from av.container import InputContainer
from av.video.stream import VideoStream

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.limits import MAX_PIXELS, too_much_memory


@frozen
class Opened:
    """An open container and its video stream."""

    container: InputContainer
    stream: VideoStream


FORMATS = "mp4, mov, mkv, webm, avi, gif"
HEAD = 12
"""Bytes from which the format is detected."""

_LIMITS = {"max_pixels": str(MAX_PIXELS)}

_MOV_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"))


def container_format(head: bytes) -> str | None:
    """FFmpeg's name for the format of a file that begins with `head`; None if unsupported."""
    if head[4:8] in _MOV_BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None


@contextlib.contextmanager
def open_clip(
    file: BinaryIO, head: bytes, decoder_options: Mapping[str, str] | None = None
) -> Iterator[Opened]:
    """Open a clip that begins with `head`; `decoder_options` go to FFmpeg's decoders.

    Naming the format stops FFmpeg from reading a text file as a playlist of other files. Frames of
    more than `MAX_PIXELS` are refused by FFmpeg before it allocates them.

    Raises:
        BadClip: the file is not a clip, or is truncated or damaged.
    """
    name = container_format(head)
    if name is None:
        raise BadClip("clip-unreadable", f"is not a video file ({FORMATS})")
    try:
        with av.open(
            file,
            "r",
            format=name,
            options={**_LIMITS, **(decoder_options or {})},
            # Titles and other metadata may be in any encoding; they are not read here.
            metadata_errors="replace",
        ) as container:
            stream = _stream(container)
            stream.codec_context.options = _LIMITS
            yield Opened(container, stream)
    except MemoryError:
        # FFmpeg's too, which is an FFmpegError as well.
        raise too_much_memory() from None
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadClip("clip-unreadable", f"can't be decoded ({reason})") from None


def _stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # Cover art is a video stream of one frame.
        if av.stream.Disposition.attached_pic in stream.disposition:
            continue
        # PyAV's types say otherwise, but there is no context without a decoder.
        if getattr(stream, "codec_context", None) is None:
            raise BadClip("clip-unreadable", "uses a codec that FFmpeg has no decoder for")
        return stream
    raise BadClip("clip-unreadable", "has no video stream")
