"""Decode a sample's frames from its clip, as stated in the manifest."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.container import HEAD, Opened, open_clip
from cvbundle.dataset.frames import displayed_size, scaled_box
from cvbundle.dataset.manifest import Sample

Pixels = NDArray[np.uint8]

# The results of swscale's other paths depend on the CPU.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def decode(content: bytes | Path, sample: Sample, height: int, width: int) -> Pixels:
    """The sample's frames `[F, H, W, 3]`, RGB, from a clip's bytes or its file.

    Frames are counted in presentation order. Only the sample's frames are converted and kept; the
    clip is decoded up to the last of them.

    Raises:
        BadClip: the clip's frames or size differ from the manifest.
    """
    frames = np.empty((len(sample.chosen), height, width, 3), np.uint8)
    last = max(sample.chosen)
    with _open(content) as opened:
        opened.stream.thread_type = "AUTO"
        number = -1
        reformatter = VideoReformatter()
        chosen = frozenset(sample.chosen)
        for number, frame in enumerate(opened.container.decode(opened.stream)):
            if number in chosen:
                image = _image(frame, opened, sample, reformatter)
                pixels = _cut(image, sample, height, width)
                for place, index in enumerate(sample.chosen):
                    if index == number:
                        frames[place] = np.asarray(pixels)
            if number == last:
                break
    if number < last:
        raise BadClip("clip-truncated", f"has {number + 1} frames, the manifest needs {last + 1}")
    return frames


@contextlib.contextmanager
def _open(content: bytes | Path) -> Iterator[Opened]:
    if isinstance(content, bytes):
        file: BinaryIO = io.BytesIO(content)
    else:
        try:
            file = content.open("rb")
        except OSError as error:
            raise BadClip("clip-unreadable", f"can't be read ({error.strerror})") from None
    with file:
        head = file.read(HEAD)
        file.seek(0)
        with open_clip(file, head) as opened:
            yield opened


def _image(
    frame: av.VideoFrame, opened: Opened, sample: Sample, reformatter: VideoReformatter
) -> Image.Image:
    """A frame in display orientation, before its sample aspect ratio is applied."""
    if frame.is_corrupt:
        raise BadClip("clip-unreadable", "has a damaged frame")
    aspect = opened.stream.sample_aspect_ratio
    size = displayed_size(frame.height, frame.width, aspect, sample.rotation)
    if size != (sample.height, sample.width):
        stated = f"{sample.height}x{sample.width}"
        raise BadClip("clip-unreadable", f"is {size[0]}x{size[1]}, the manifest says {stated}")
    rgb = reformatter.reformat(frame, format="rgb24", interpolation=_EXACT, threads=1)
    pixels = np.rot90(rgb.to_ndarray(), sample.rotation // 90)
    if sample.mirrored:
        pixels = pixels[:, ::-1]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _cut(image: Image.Image, sample: Sample, height: int, width: int) -> Image.Image:
    box = scaled_box(sample.crop, (sample.height, sample.width), (image.height, image.width))
    left, top, right, bottom = box
    if (right - left, bottom - top) == (width, height) and all(n == int(n) for n in box):
        return image.crop((int(left), int(top), int(right), int(bottom)))
    return image.resize((width, height), Image.Resampling.LANCZOS, box)
