"""Generated clips: every frame shows its number and which way is up."""

import io
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_BITS = 6
CORNERS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def picture(number: int, height: int = 64, width: int = 96) -> Pixels:
    """Corners in four colours (see `corners`), and the number in blocks from left to right."""
    pixels = np.full((height, width, 3), 96, np.uint8)
    rows, columns = height // 4, width // 4
    for (top, left), colour in zip(
        ((0, 0), (0, width - columns), (height - rows, 0), (height - rows, width - columns)),
        CORNERS.values(),
        strict=True,
    ):
        pixels[top : top + rows, left : left + columns] = colour
    for bit in range(_BITS):
        left, right = bit * width // _BITS, (bit + 1) * width // _BITS
        level = 235 if number >> bit & 1 else 20
        pixels[height * 3 // 8 : height * 5 // 8, left:right] = level
    return pixels


def number_in(pixels: Pixels) -> int:
    """The number shown in a picture of any size."""
    height, width = pixels.shape[:2]
    row = pixels[height // 2].mean(axis=1)
    return sum(1 << bit for bit in range(_BITS) if row[(2 * bit + 1) * width // (2 * _BITS)] > 128)


def corners(pixels: Pixels) -> list[str]:
    """The colours at the top left, top right, bottom left and bottom right."""
    height, width = pixels.shape[:2]
    found = []
    for top in (height // 10, height - 1 - height // 10):
        for left in (width // 10, width - 1 - width // 10):
            colour = pixels[top, left].astype(int)
            distance = {name: int(np.abs(colour - value).sum()) for name, value in CORNERS.items()}
            found.append(min(distance, key=distance.__getitem__))
    return found


def make_clip(
    frames: int = 9,
    *,
    height: int = 64,
    width: int = 96,
    container: str = "mp4",
    codec: str = "libx264",
    rate: Fraction | int = 8,
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    pixel_format: str | None = None,
    draw: Callable[[int], Pixels] | None = None,
    sound: bool = False,
) -> bytes:
    """The bytes of a clip; `times` are the frames' times in units of 1 / `rate` seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(muxer or {})) as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=rate))
        stream.height, stream.width = height, width
        stream.pix_fmt = pixel_format or stream.codec_context.codec.video_formats[0].name  # type: ignore[index]
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.options = dict(options or {})
        stream.time_base = 1 / Fraction(rate)
        audio = output.add_stream("aac", rate=8000) if sound else None
        for number in range(frames):
            pixels = draw(number) if draw else picture(number, height, width)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = times[number] if times is not None else number
            frame.time_base = 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            _silence(output, audio, frames / Fraction(rate))
    return file.getvalue()


def _silence(output: OutputContainer, stream: "av.AudioStream", seconds: Fraction) -> None:
    for index in range(int(seconds * 8000) // 1024 + 1):
        frame = av.AudioFrame("fltp", "mono", 1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate = 8000
        frame.pts = index * 1024
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def make_sound(seconds: int = 1) -> bytes:
    """An mp4 with nothing but a sound track."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        audio = output.add_stream("aac", rate=8000)
        _silence(output, audio, Fraction(seconds))
    return file.getvalue()


def with_matrix(mp4: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An mp4 whose first track is shown through the linear map `(a, b, c, d)`.

    A stored point (x, y) is shown at (a x + c y, b x + d y), y downwards; the translation, which
    players ignore, stays zero. Source: ISO/IEC 14496-12, 8.3.2 (track header) and 6.2.2 (matrix).
    """
    start = mp4.index(b"tkhd")
    assert mp4[start + 4] == 0, "version 0 of the box"
    a, b, c, d = (n << 16 for n in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    packed = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    return mp4[: start + 44] + packed + mp4[start + 44 + len(packed) :]


def with_start(mp4: bytes, skipped: int) -> bytes:
    """An mp4 whose edit list begins `skipped` units of its time scale later."""
    start = mp4.index(b"elst")
    assert mp4[start + 4] == 0, "version 0 of the box"
    at = start + 4 + 4 + 4 + 4
    time = int.from_bytes(mp4[at : at + 4], "big") + skipped
    return mp4[:at] + time.to_bytes(4, "big") + mp4[at + 4 :]
