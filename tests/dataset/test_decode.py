"""Frames are decoded exactly as stated in the manifest."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from PIL import Image

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.decode import decode
from cvbundle.dataset.frames import Crop
from cvbundle.dataset.manifest import Sample
from tests.dataset.clips import corners, make_clip, number_in, picture, with_matrix, with_start

UPRIGHT = ["red", "green", "blue", "white"]


def sample(chosen: tuple[int, ...], height: int = 64, width: int = 96, rotation: int = 0) -> Sample:
    """A sample whose frames are not cropped."""
    return Sample(
        clip="clip.mp4",
        digest="",
        size=0,
        codec="h264",
        frames=9,
        fps="8",
        duration=1.0,
        height=height,
        width=width,
        rotation=rotation,
        variable=False,
        chosen=chosen,
        crop=Crop(0, 0, height, width),
        caption="",
    )


def test_frames_are_in_presentation_order() -> None:
    content = make_clip(9, options={"bf": "3", "b-adapt": "0"})
    frames = decode(content, sample(tuple(range(9))), 64, 96)
    assert frames.shape == (9, 64, 96, 3)
    assert frames.dtype == np.uint8
    assert [number_in(frame) for frame in frames] == list(range(9))
    assert corners(frames[0]) == UPRIGHT


def test_only_the_chosen_frames_are_returned_and_repeats_are_kept() -> None:
    frames = decode(make_clip(9), sample((0, 4, 8, 8, 8)), 64, 96)
    assert [number_in(frame) for frame in frames] == [0, 4, 8, 8, 8]


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("matroska", "libx264"),
        ("avi", "mpeg4"),
        ("mp4", "libx265"),
        ("webm", "libvpx-vp9"),
        ("webm", "libsvtav1"),
        ("gif", "gif"),
    ],
)
def test_every_container_is_decoded(container: str, codec: str) -> None:
    content = make_clip(5, container=container, codec=codec)
    frames = decode(content, sample((0, 2, 4)), 64, 96)
    assert [number_in(frame) for frame in frames] == [0, 2, 4]
    if codec != "gif":
        assert corners(frames[0]) == UPRIGHT


@pytest.mark.parametrize(
    ("matrix", "turns", "rotation"),
    [((0, 1, -1, 0), 1, 270), ((-1, 0, 0, -1), 2, 180), ((0, -1, 1, 0), 3, 90)],
    ids=["clockwise", "upside down", "counter-clockwise"],
)
def test_a_rotated_clip_is_decoded_upright(
    matrix: tuple[int, int, int, int], turns: int, rotation: int
) -> None:
    """As phones do: store the picture rotated, with a matrix that rotates it back."""

    def turned(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return np.ascontiguousarray(np.rot90(picture(number, 96, 64), turns))

    height, width = turned(0).shape[:2]
    content = with_matrix(make_clip(3, height=height, width=width, draw=turned), matrix)
    frames = decode(content, sample((0, 1, 2), 96, 64, rotation), 96, 64)
    assert [number_in(frame) for frame in frames] == [0, 1, 2]
    assert corners(frames[0]) == UPRIGHT


def test_a_mirrored_clip_is_decoded_unmirrored() -> None:
    content = make_clip(2, draw=lambda number: np.ascontiguousarray(picture(number)[:, ::-1]))
    frames = decode(content, evolve(sample((0, 1)), mirrored=True), 64, 96)
    assert number_in(frames[1]) == 1
    assert corners(frames[0]) == UPRIGHT


def test_non_square_pixels_are_made_square() -> None:
    content = make_clip(2, height=64, width=48, aspect=Fraction(2))
    frames = decode(content, sample((0, 1), 64, 96), 64, 96)
    assert corners(frames[0]) == UPRIGHT
    assert number_in(frames[1]) == 1


def test_frames_hidden_by_an_edit_list_are_not_counted() -> None:
    content = make_clip(9, options={"bf": "2"})
    later = with_start(content, 3 * 16384 // 8)
    frames = decode(later, sample((0, 1, 2)), 64, 96)
    assert [number_in(frame) for frame in frames] == [3, 4, 5]


def test_a_crop_of_the_target_size_is_not_resampled() -> None:
    content = make_clip(1)
    whole = decode(content, sample((0,)), 64, 96)
    cut = evolve(sample((0,)), crop=Crop(8, 16, 32, 48))
    assert np.array_equal(decode(content, cut, 32, 48)[0], whole[0, 8:40, 16:64])


def test_a_crop_of_another_size_is_resized_by_pillow() -> None:
    content = make_clip(1)
    whole = decode(content, sample((0,)), 64, 96)
    cut = evolve(sample((0,)), crop=Crop(8, 16, 32, 48))
    expected = Image.fromarray(whole[0]).resize((24, 16), Image.Resampling.LANCZOS, (16, 8, 64, 40))
    assert np.array_equal(decode(content, cut, 16, 24)[0], np.asarray(expected))


def test_a_file_and_its_bytes_decode_the_same(tmp_path: Path) -> None:
    content = make_clip(3)
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    by_file = decode(path, sample((0, 2)), 64, 96)
    assert np.array_equal(by_file, decode(content, sample((0, 2)), 64, 96))


@pytest.mark.parametrize("colours", ["bt709", "smpte170m"])
def test_colours_follow_the_clips_colour_matrix(colours: str) -> None:
    content = make_clip(1, options={"x264-params": f"colormatrix={colours}:range=tv"})
    other = make_clip(1)
    frames = decode(content, sample((0,)), 64, 96)
    plain = decode(other, sample((0,)), 64, 96)
    assert np.array_equal(frames, plain) == (colours == "smpte170m")


def test_a_clip_with_too_few_frames_is_named() -> None:
    with pytest.raises(BadClip, match="has 3 frames, the manifest needs 9") as caught:
        decode(make_clip(3), sample((0, 8)), 64, 96)
    assert caught.value.rule == "clip-truncated"


def test_a_clip_whose_size_differs_from_the_manifest_is_refused() -> None:
    with pytest.raises(BadClip, match="is 64x96, the manifest says 32x32"):
        decode(make_clip(1), sample((0,), 32, 32), 32, 32)


def test_damage_in_the_chosen_frames_is_refused() -> None:
    content = bytearray(make_clip(9, options={"bf": "0", "coder": "cabac"}))
    middle = content.index(b"mdat") + 900
    content[middle : middle + 100] = b"\x55" * 100
    with pytest.raises(BadClip, match="damaged"):
        decode(bytes(content), sample(tuple(range(9))), 64, 96)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadClip, match="can't be read"):
        decode(tmp_path / "gone.mp4", sample((0,)), 64, 96)
