"""`dataset.jsonl`, one sample a line, and `skipped.jsonl`, the samples left out and why."""

import json
from collections.abc import Iterator
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from math import isfinite
from pathlib import Path

from attrs import frozen

from cvbundle.dataset.frames import Crop
from cvbundle.files.digest import canonical_json


@frozen(kw_only=True)
class Image:
    """A first frame in a separate image file."""

    path: str
    digest: str
    size: int


@frozen(kw_only=True)
class Sample:
    """A clip as training uses it: its exact bytes, frames, crop and caption."""

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
    """Degrees, counter-clockwise, by which stored frames are rotated for display."""
    mirrored: bool = False
    """Whether frames are flipped horizontally for display, after rotation."""
    variable: bool
    """Whether the time between frames varies."""
    chosen: tuple[int, ...]
    """The frames of the sample, by index from 0."""
    crop: Crop
    caption: str
    """Including the prefix."""
    image: Image | None = None


@frozen(kw_only=True)
class Skipped:
    """An entry that was left out, as the spec allows."""

    number: int
    """Number of the entry in the dataset's list, from 1."""
    clip: str
    rule: str
    reason: str


def sample_line(sample: Sample) -> bytes:
    """A sample as a line of `dataset.jsonl`: its canonical JSON, formatted by hand for speed.

    Raises:
        ValueError: the duration is not finite.
    """
    if not isfinite(sample.duration):
        raise ValueError(f"{sample.clip}: a duration of {sample.duration}")
    image = sample.image
    pair = "" if image is None else f'"image":{canonical_json(_image_data(image)).decode()},'
    crop = sample.crop
    # Keys are sorted; a test compares this with `canonical_json` of the same data.
    return (
        f'{{"caption":{_quoted(sample.caption)},"chosen":{_listed(sample.chosen)},'
        f'"clip":{_quoted(sample.clip)},"codec":{_quoted(sample.codec)},'
        f'"crop":[{crop.top},{crop.left},{crop.height},{crop.width}],'
        f'"digest":{_quoted(sample.digest)},"duration":{float(sample.duration)!r},'
        f'"fps":{_quoted(sample.fps)},"frames":{sample.frames},"height":{sample.height},{pair}'
        f'"mirrored":{_boolean(sample.mirrored)},"rotation":{sample.rotation},'
        f'"size":{sample.size},"variable":{_boolean(sample.variable)},"width":{sample.width}}}\n'
    ).encode()


def _image_data(image: Image) -> dict[str, object]:
    return {"digest": image.digest, "path": image.path, "size": image.size}


def _boolean(value: bool) -> str:
    return "true" if value else "false"


# Most clips of a dataset have the same number of frames.
@lru_cache(maxsize=4096)
def _listed(numbers: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def skipped_line(skipped: Skipped) -> bytes:
    """A skipped sample as a line of `skipped.jsonl`."""
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
