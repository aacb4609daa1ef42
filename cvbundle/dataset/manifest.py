"""`dataset.jsonl`: one sample a line, and `skipped.jsonl`: what was left out and why."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.dataset.frames import Crop
from cvbundle.digest import canonical_json


@frozen(kw_only=True)
class Image:
    """A first frame that is a file of its own."""

    path: str
    digest: str
    size: int


@frozen(kw_only=True)
class Sample:
    """A clip as training uses it: exactly these bytes, these frames, this crop, this caption."""

    clip: str
    """Path below the dataset's root, with `/`."""
    digest: str
    """sha256 of the file, in hex."""
    size: int
    """Bytes."""
    codec: str
    frames: int
    """Frames in the file."""
    fps: str
    """Frames per second, as a fraction: `8`, `30000/1001`."""
    duration: float
    """Seconds."""
    height: int
    width: int
    """Pixels as displayed: rotation and sample aspect ratio applied."""
    rotation: int
    """Degrees, counter-clockwise, by which stored frames are turned for display."""
    mirrored: bool = False
    """Whether left and right are swapped for display, after turning."""
    variable: bool
    """Whether the time between frames varies."""
    chosen: tuple[int, ...]
    """Which frames make the sample, by index from 0."""
    crop: Crop
    caption: str
    """What is trained on: the prefix is in it."""
    image: Image | None = None


@frozen(kw_only=True)
class Skipped:
    """A sample that was left out on purpose."""

    number: int
    """Which entry of the dataset's list, from 1."""
    clip: str
    rule: str
    reason: str


def sample_line(sample: Sample) -> bytes:
    """A sample as a line of `dataset.jsonl`."""
    crop = sample.crop
    data: dict[str, Any] = {
        "caption": sample.caption,
        "chosen": sample.chosen,
        "clip": sample.clip,
        "codec": sample.codec,
        "crop": (crop.top, crop.left, crop.height, crop.width),
        "digest": sample.digest,
        "duration": sample.duration,
        "fps": sample.fps,
        "frames": sample.frames,
        "height": sample.height,
        "mirrored": sample.mirrored,
        "rotation": sample.rotation,
        "size": sample.size,
        "variable": sample.variable,
        "width": sample.width,
    }
    if sample.image is not None:
        image = sample.image
        data["image"] = {"digest": image.digest, "path": image.path, "size": image.size}
    return canonical_json(data) + b"\n"


def skipped_line(skipped: Skipped) -> bytes:
    """A sample that was left out, as a line of `skipped.jsonl`."""
    data = {
        "clip": skipped.clip,
        "number": skipped.number,
        "reason": skipped.reason,
        "rule": skipped.rule,
    }
    return canonical_json(data) + b"\n"


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a manifest, one at a time, in order."""
    with path.open("rb") as file:
        for line in file:
            data = json.loads(line)
            image = data.pop("image", None)
            data["crop"] = Crop(*data["crop"])
            data["chosen"] = tuple(data["chosen"])
            yield Sample(**data, image=Image(**image) if image else None)
