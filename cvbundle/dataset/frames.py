"""Which frames of a clip and which part of a frame are trained on: pure functions, one place.

The manifest states their results and the trainer follows the manifest, so the two can't differ.
"""

from attrs import frozen

from cvbundle.spec.schema import Fit, FrameSampling


@frozen
class Crop:
    """A part of a frame, in pixels of the frame as displayed; it is scaled to the sample's size."""

    top: int
    left: int
    height: int
    width: int


def choose_frames(available: int, wanted: int, sampling: FrameSampling) -> tuple[int, ...]:
    """The frames of a clip, by index from 0, that make a sample of `wanted` frames.

    `uniform` spans the whole clip, first and last frame included; `head` takes the first ones;
    `stride` equals `range(0, n, n // F)[:F]` (zai-org/CogVideo finetune/datasets/utils.py:130-146).
    A clip that is too short is continued by its last frame.
    """
    if available < wanted:
        return (*range(available), *[available - 1] * (wanted - available))
    if sampling == "head" or wanted == 1:
        return tuple(range(wanted))
    if sampling == "stride":
        return tuple(range(0, available, available // wanted)[:wanted])
    # The nearest index to i * (available - 1) / (wanted - 1), in whole numbers.
    steps, span = wanted - 1, available - 1
    return tuple((2 * i * span + steps) // (2 * steps) for i in range(wanted))


def crop_box(height: int, width: int, to_height: int, to_width: int, fit: Fit) -> Crop:
    """The part of a `height` x `width` frame that becomes `to_height` x `to_width`.

    `crop` is the largest box of the wanted aspect ratio in the middle; `stretch` is all of it.
    """
    if fit == "stretch":
        return Crop(0, 0, height, width)
    if height * to_width >= width * to_height:
        box_height, box_width = _rounded(width * to_height, to_width), width
    else:
        box_height, box_width = height, _rounded(height * to_width, to_height)
    box_height, box_width = max(1, box_height), max(1, box_width)
    return Crop((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
