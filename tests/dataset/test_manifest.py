"""A manifest states the exact training data in one canonical form."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from cvbundle.dataset.frames import Crop
from cvbundle.dataset.manifest import (
    Image,
    Sample,
    Skipped,
    read_samples,
    sample_line,
    skipped_line,
)
from cvbundle.dataset.writing import write_manifest
from cvbundle.files.digest import canonical_json
from cvbundle.problems import Place, Problem, Severity

_number = st.integers(0, 2**60)
_samples = st.builds(
    Sample,
    clip=st.text(),
    digest=st.text(),
    size=_number,
    codec=st.text(),
    frames=_number,
    fps=st.text(),
    duration=st.floats(allow_nan=False, allow_infinity=False),
    height=_number,
    width=_number,
    rotation=st.sampled_from([0, 90, 180, 270]),
    mirrored=st.booleans(),
    variable=st.booleans(),
    chosen=st.lists(_number, max_size=9).map(tuple),
    crop=st.builds(Crop, _number, _number, _number, _number),
    caption=st.text(),
    image=st.none() | st.builds(Image, path=st.text(), digest=st.text(), size=_number),
)

SAMPLE = Sample(
    clip="videos/a b.mp4",
    digest="00" * 32,
    size=12,
    codec="h264",
    frames=9,
    fps="30000/1001",
    duration=0.3003,
    height=480,
    width=720,
    rotation=0,
    variable=False,
    chosen=(0, 4, 8),
    crop=Crop(0, 0, 480, 720),
    caption='A horse says "né".',
)
WARNING = Problem("clip-aspect", Severity.WARNING, Place("videos.txt", 1, 1), "is wide")
ERROR = Problem("clip-truncated", Severity.ERROR, Place("videos.txt", 2, 1), "is truncated")
SKIPPED = Skipped(number=3, clip="c.mp4", rule="clip-short", reason="has 3 frames")


def as_data(sample: Sample) -> dict[str, Any]:
    """The sample as plain data, by an independent implementation."""
    names = "clip digest size codec frames fps duration height width rotation mirrored variable"
    data = {name: getattr(sample, name) for name in names.split()}
    crop, image = sample.crop, sample.image
    data["crop"] = [crop.top, crop.left, crop.height, crop.width]
    data["chosen"] = list(sample.chosen)
    data["caption"] = sample.caption
    if image is not None:
        data["image"] = {"path": image.path, "digest": image.digest, "size": image.size}
    return data


@given(_samples)
def test_a_line_is_the_canonical_json_of_its_sample(sample: Sample) -> None:
    assert sample_line(sample) == canonical_json(as_data(sample)) + b"\n"


def test_the_format_of_a_line_does_not_change() -> None:
    assert sample_line(SAMPLE) == (
        b'{"caption":"A horse says \\"n\\u00e9\\".","chosen":[0,4,8],"clip":"videos/a b.mp4",'
        b'"codec":"h264","crop":[0,0,480,720],"digest":"' + b"00" * 32 + b'","duration":0.3003,'
        b'"fps":"30000/1001","frames":9,"height":480,"mirrored":false,"rotation":0,"size":12,'
        b'"variable":false,"width":720}\n'
    )


# Each example is flushed to disk, which takes an unpredictable time.
@settings(deadline=None, max_examples=25)
@given(st.lists(_samples, max_size=3))
def test_samples_survive_a_round_trip(samples: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dataset.jsonl"
        write_manifest(samples, path, path.with_name("skipped.jsonl"))
        assert list(read_samples(path)) == samples


@pytest.mark.parametrize("duration", [float("nan"), float("inf")])
def test_a_duration_that_is_not_finite_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        sample_line(evolve(SAMPLE, duration=duration))


def test_rows_are_written_in_order_and_counted(tmp_path: Path) -> None:
    dataset, skipped = tmp_path / "dataset.jsonl", tmp_path / "skipped.jsonl"
    other = evolve(SAMPLE, clip="b.mp4")
    summary = write_manifest([WARNING, SAMPLE, ERROR, SKIPPED, other], dataset, skipped)
    assert dataset.read_bytes() == sample_line(SAMPLE) + sample_line(other)
    assert skipped.read_bytes() == skipped_line(SKIPPED)
    assert json.loads(skipped.read_bytes())["rule"] == "clip-short"
    assert (summary.samples, summary.skipped, summary.clip_bytes) == (2, 1, 24)
    assert summary.problems == (WARNING, ERROR)
    assert summary.blocked


def test_without_skipped_samples_there_is_no_file(tmp_path: Path) -> None:
    summary = write_manifest([SAMPLE], tmp_path / "dataset.jsonl", tmp_path / "skipped.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.jsonl"]
    assert not summary.blocked


def test_an_interrupted_manifest_leaves_no_file(tmp_path: Path) -> None:
    def rows() -> Any:
        yield SAMPLE
        yield SKIPPED
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(rows(), tmp_path / "dataset.jsonl", tmp_path / "skipped.jsonl")
    assert not list(tmp_path.iterdir())
