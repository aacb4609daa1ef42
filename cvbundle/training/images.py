"""Conditioning images that are files of their own."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.frames import crop_box
from cvbundle.dataset.images import open_image
from cvbundle.problems import UserError
from cvbundle.spec.schema import Fit


def decode_image(content: bytes, fit: Fit, height: int, width: int) -> NDArray[np.uint8]:
    """An image file as [height, width, 3], RGB, cut and scaled as a clip's frames are.

    Raises:
        BadClip: it is no image that can be decoded.
    """
    image = ImageOps.exif_transpose(open_image(content)).convert("RGB")
    crop = crop_box(image.height, image.width, height, width, fit)
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    if (crop.height, crop.width) == (height, width):
        return np.asarray(image.crop(box))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box))


def read_image(path: Path) -> Image.Image:
    """An image file, in RGB.

    Raises:
        UserError: it can't be read or decoded.
    """
    try:
        return open_image(path.read_bytes()).convert("RGB")
    except BadClip as error:
        raise UserError(f"{path} {error}") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
