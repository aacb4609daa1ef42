"""`dataset.jsonl`, one sample a line, and `skipped.jsonl`, the samples left out and why."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import attrs
from attrs import frozen

from cvbundle.dataset.frames import Crop
from cvbundle.files.digest import canonical_json
from cvbundle.files.json_objects import DamagedFile, at_line, read_rows, unreadable

T = TypeVar("T")


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


def read_samples(path: Path, advice: str = "compile the spec again") -> Iterator[Sample]:
    """The samples of a manifest, one at a time, in order; `advice` ends the message of an error.

    Raises:
        DamagedFile: the file is missing, or a line isn't a sample.
    """
    try:
        yield from _read(path, _sample, advice)
    except FileNotFoundError as error:
        raise unreadable(path, error, advice) from None


def read_skipped(path: Path, advice: str = "compile the spec again") -> Iterator[Skipped]:
    """The samples that were left out, in order; none if there is no such file.

    Raises:
        DamagedFile: a line isn't a skipped sample.
    """
    with contextlib.suppress(FileNotFoundError):
        yield from _read(path, _skipped, advice)


def _read(path: Path, make: Callable[[dict[str, Any]], T], advice: str) -> Iterator[T]:
    for number, row in read_rows(path, advice):
        try:
            yield make(row)
        except ValueError as error:
            raise DamagedFile(f"{at_line(path, number)}: {error}: {advice}") from None


def _sample(row: dict[str, Any]) -> Sample:
    image = row.pop("image", None)
    if type(image) not in (dict, NoneType):
        raise ValueError("image is not an object")
    values = _checked(row, Sample)
    values["crop"] = Crop(*_whole_numbers(row, "crop", 4))
    values["chosen"] = _whole_numbers(row, "chosen")
    return Sample(**values, image=None if image is None else Image(**_checked(image, Image)))


def _skipped(row: dict[str, Any]) -> Skipped:
    return Skipped(**_checked(row, Skipped))


_JSON_TYPES: Mapping[type, str] = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "text",
}


def _checked(row: dict[str, Any], cls: type) -> dict[str, Any]:
    """The row, if it has the fields of the class and no others, with their types."""
    kinds, optional = _fields_of(cls)
    for name, kind in kinds.items():
        if name not in row:
            if name not in optional:
                raise ValueError(f"{name} is missing")
        elif type(row[name]) is not kind:
            raise ValueError(f"{name} is not {_JSON_TYPES[kind]}")
    if unknown := row.keys() - kinds.keys():
        raise ValueError(f"{min(unknown)} is not a field of this version")
    return row


@lru_cache
def _fields_of(cls: type) -> tuple[dict[str, type], frozenset[str]]:
    """The JSON types of a class's fields, and the fields that may be missing."""
    fields = [each for each in attrs.fields(cls) if each.name != "image"]
    kinds = {each.name: each.type if each.type in _JSON_TYPES else list for each in fields}
    return kinds, frozenset(each.name for each in fields if each.default is not attrs.NOTHING)


def _whole_numbers(row: dict[str, Any], name: str, count: int | None = None) -> tuple[int, ...]:
    values = tuple(row[name])
    if {*map(type, values)} - {int}:
        raise ValueError(f"{name} has something other than whole numbers")
    if count is not None and count != len(values):
        raise ValueError(f"{name} has {len(values)} numbers instead of {count}")
    return values
