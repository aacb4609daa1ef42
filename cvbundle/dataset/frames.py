"""Choose the frames of a clip and the crop of a frame: pure functions.

The manifest records their results and the trainer reads the manifest, so the two can't differ.
"""

from fractions import Fraction

from attrs import frozen

from cvbundle.spec.schema import Fit, FrameSampling


@frozen
class Crop:
    """A part of a frame, in pixels as displayed; it is scaled to the sample's size."""

    top: int
    left: int
    height: int
    width: int


def choose_frames(available: int, count: int, sampling: FrameSampling) -> tuple[int, ...]:
    """The frames of a clip, by index from 0, that make up a sample of `count` frames.

    `uniform` spans the whole clip, first and last frame included; `head` takes the first ones;
    `stride` equals `range(0, n, n // F)[:F]` (zai-org/CogVideo finetune/datasets/utils.py:130-146).
    A clip that is too short is padded with its last frame.
    """
    if available < count:
        return (*range(available), *[available - 1] * (count - available))
    if sampling == "head" or count == 1:
        return tuple(range(count))
    if sampling == "stride":
        return tuple(range(0, available, available // count)[:count])
    # The nearest index to i * (available - 1) / (count - 1), in integers.
    steps, span = count - 1, available - 1
    return tuple((2 * i * span + steps) // (2 * steps) for i in range(count))


def crop_box(height: int, width: int, to_height: int, to_width: int, fit: Fit) -> Crop:
    """The part of a `height` x `width` frame that becomes `to_height` x `to_width`.

    `crop` is the largest centred box of the target aspect ratio; `stretch` is the whole frame.
    """
    if fit == "stretch":
        return Crop(0, 0, height, width)
    if height * to_width >= width * to_height:
        box_height, box_width = _rounded(width * to_height, to_width), width
    else:
        box_height, box_width = height, _rounded(height * to_width, to_height)
    box_height, box_width = max(1, box_height), max(1, box_width)
    return Crop((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def displayed_size(
    height: int, width: int, aspect: Fraction | None, rotation: int
) -> tuple[int, int]:
    """Height and width at which a stored `height` x `width` frame is shown.

    Args:
        height: pixels as stored.
        width: pixels as stored.
        aspect: sample aspect ratio, width over height; None or 0 if not stated.
        rotation: degrees, a multiple of 90, by which the frame is then rotated.
    """
    if aspect:
        width = max(1, _rounded(width * aspect.numerator, aspect.denominator))
    return (width, height) if rotation % 180 else (height, width)


def scaled_box(
    crop: Crop, displayed: tuple[int, int], stored: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A crop of the displayed frame, in pixels of the rotated but unscaled one.

    Sizes are (height, width); the result is Pillow's (left, top, right, bottom).
    """
    rows, columns = stored[0] / displayed[0], stored[1] / displayed[1]
    return (
        crop.left * columns,
        crop.top * rows,
        # Rounding must not move the edge outside the frame.
        min((crop.left + crop.width) * columns, stored[1]),
        min((crop.top + crop.height) * rows, stored[0]),
    )


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
