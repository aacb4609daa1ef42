"""`dataset.jsonl`: one sample a line, and `skipped.jsonl`: what was left out and why."""

import json
from collections.abc import Iterator
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from math import isfinite
from pathlib import Path

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
    """A sample as a line of `dataset.jsonl`: its canonical JSON, put together from its parts.

    Raises:
        ValueError: the duration is no number.
    """
    if not isfinite(sample.duration):
        raise ValueError(f"{sample.clip}: a duration of {sample.duration}")
    image = sample.image
    shown = "" if image is None else f'"image":{canonical_json(_image_data(image)).decode()},'
    crop = sample.crop
    # Keys in order; that this equals `canonical_json` of the same data is tested.
    return (
        f'{{"caption":{_quoted(sample.caption)},"chosen":{_listed(sample.chosen)},'
        f'"clip":{_quoted(sample.clip)},"codec":{_quoted(sample.codec)},'
        f'"crop":[{crop.top},{crop.left},{crop.height},{crop.width}],'
        f'"digest":{_quoted(sample.digest)},"duration":{float(sample.duration)!r},'
        f'"fps":{_quoted(sample.fps)},"frames":{sample.frames},"height":{sample.height},{shown}'
        f'"mirrored":{_truth(sample.mirrored)},"rotation":{sample.rotation},'
        f'"size":{sample.size},"variable":{_truth(sample.variable)},"width":{sample.width}}}\n'
    ).encode()


def _image_data(image: Image) -> dict[str, object]:
    return {"digest": image.digest, "path": image.path, "size": image.size}


def _truth(value: bool) -> str:
    return "true" if value else "false"


# Few clips of a dataset differ in how many frames they have.
@lru_cache(maxsize=4096)
def _listed(numbers: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, numbers))}]"


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
