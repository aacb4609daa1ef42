"""Open the container of a clip: one of six formats, told by its first bytes, never by its name."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import av
from attrs import frozen
from av.container import InputContainer
from av.video.stream import VideoStream

from cvbundle.dataset.rules import CLIP_UNREADABLE
from cvbundle.problems import Rule


class BadClip(Exception):
    """A clip can't be used; `rule` is the one that it breaks, the text says how.

    `lasting` is whether the same bytes will always be bad: not where a disk or network failed.
    """

    def __init__(self, rule: Rule, reason: str, lasting: bool = True) -> None:
        self.rule = rule
        self.reason = reason
        self.lasting = lasting
        super().__init__(rule, reason, lasting)

    def __str__(self) -> str:
        return self.reason


@frozen
class Opened:
    """An open container and the stream of it that is trained on."""

    container: InputContainer
    stream: VideoStream


FORMATS = "mp4, mov, mkv, webm, avi, gif"
HEAD = 12
"""Bytes that tell the format."""

_MOV_BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"))


def container_format(head: bytes) -> str | None:
    """FFmpeg's name for the format of a file that begins with `head`; None: none of ours."""
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
    """Open a clip that begins with `head`; the options are those of FFmpeg's decoders.

    Naming the format keeps FFmpeg from taking a text for a playlist that names other files.

    Raises:
        BadClip: it is no clip, or it breaks off or turns out damaged while it is read.
    """
    name = container_format(head)
    if name is None:
        raise BadClip(CLIP_UNREADABLE, f"is no video file ({FORMATS})")
    try:
        with av.open(
            file,
            "r",
            format=name,
            options=dict(decoder_options or {}),
            # Titles and the like may be in any encoding; nobody reads them here.
            metadata_errors="replace",
        ) as container:
            yield Opened(container, _stream(container))
    except (av.error.FFmpegError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadClip(CLIP_UNREADABLE, f"can't be decoded ({reason})") from None


def _stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # The cover picture of a piece of music is a video stream of one frame.
        if av.stream.Disposition.attached_pic in stream.disposition:
            continue
        # Without a decoder there is no context, whatever PyAV's types say.
        if getattr(stream, "codec_context", None) is None:
            raise BadClip(CLIP_UNREADABLE, "is of a codec that nothing here decodes")
        return stream
    raise BadClip(CLIP_UNREADABLE, "has no video stream")
