"""The frames and the crop of a sample."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.dataset.frames import Crop, choose_frames, crop_box, displayed_size, scaled_box

_length = st.integers(1, 2000)
_size = st.integers(1, 5000)


@given(_length, _length)
def test_stride_equals_the_upstream_trainer(available: int, wanted: int) -> None:
    """zai-org/CogVideo finetune/datasets/utils.py: `range(0, n, n // F)[:F]`."""
    if available >= wanted:
        upstream = list(range(0, available, available // wanted))[:wanted]
        assert list(choose_frames(available, wanted, "stride")) == upstream


@given(_length, _length)
def test_uniform_spans_the_whole_clip_evenly(available: int, wanted: int) -> None:
    chosen = choose_frames(available, wanted, "uniform")
    if 1 < wanted <= available:
        assert (chosen[0], chosen[-1]) == (0, available - 1)
        for number, frame in enumerate(chosen):
            assert abs(frame - Fraction(number * (available - 1), wanted - 1)) <= Fraction(1, 2)


@given(_length, _length, st.sampled_from(["uniform", "head", "stride"]))
def test_the_requested_number_of_frames_in_order_without_repeats(
    available: int, wanted: int, sampling: str
) -> None:
    chosen = choose_frames(available, wanted, sampling)  # type: ignore[arg-type]
    assert len(chosen) == wanted
    assert list(chosen) == sorted(chosen)
    assert all(0 <= frame < available for frame in chosen)
    assert available < wanted or len(set(chosen)) == wanted


def test_head_takes_the_first_frames() -> None:
    assert choose_frames(49, 3, "head") == (0, 1, 2)


def test_a_short_clip_is_padded_with_its_last_frame() -> None:
    assert choose_frames(3, 5, "uniform") == (0, 1, 2, 2, 2)


@given(_size, _size, _size, _size)
def test_a_crop_is_centred_and_has_the_target_aspect_ratio(
    height: int, width: int, to_height: int, to_width: int
) -> None:
    crop = crop_box(height, width, to_height, to_width, "crop")
    assert 1 <= crop.height <= height
    assert 1 <= crop.width <= width
    assert crop.height == height or crop.width == width
    assert abs(2 * crop.top + crop.height - height) <= 1
    assert abs(2 * crop.left + crop.width - width) <= 1
    if crop.height == height and 1 < crop.width < width:
        assert abs(crop.width - Fraction(height * to_width, to_height)) <= Fraction(1, 2)


@given(_size, _size)
def test_a_frame_of_the_target_aspect_ratio_is_used_whole(height: int, width: int) -> None:
    assert crop_box(height, width, height, width, "crop") == Crop(0, 0, height, width)


def test_stretch_uses_the_whole_frame() -> None:
    assert crop_box(100, 900, 480, 720, "stretch") == Crop(0, 0, 100, 900)


@pytest.mark.parametrize(
    ("aspect", "rotation", "shown"),
    [
        (None, 0, (480, 720)),
        (Fraction(1), 180, (480, 720)),
        (Fraction(0), 0, (480, 720)),
        (None, 90, (720, 480)),
        (Fraction(32, 27), 0, (480, 853)),
        (Fraction(32, 27), 270, (853, 480)),
    ],
)
def test_the_displayed_size_has_square_pixels_and_the_rotation_applied(
    aspect: Fraction | None, rotation: int, shown: tuple[int, int]
) -> None:
    assert displayed_size(480, 720, aspect, rotation) == shown


@given(_size, _size, _size, _size, st.fractions(Fraction(1, 9), 9))
def test_a_crop_in_stored_pixels_is_inside_the_stored_frame(
    height: int, width: int, to_height: int, to_width: int, aspect: Fraction
) -> None:
    shown = displayed_size(height, width, aspect, 0)
    crop = crop_box(*shown, to_height, to_width, "crop")
    left, top, right, bottom = scaled_box(crop, shown, (height, width))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
