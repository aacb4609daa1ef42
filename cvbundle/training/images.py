"""Conditioning images that are files of their own."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cvbundle.dataset.frames import crop_box
from cvbundle.spec.schema import Fit


def decode_image(content: bytes, fit: Fit, height: int, width: int) -> NDArray[np.uint8]:
    """An image file as [height, width, 3], RGB, cut and scaled as a clip's frames are.

    Raises:
        OSError: it is no image that can be decoded.
    """
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    crop = crop_box(image.height, image.width, height, width, fit)
    box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    if (crop.height, crop.width) == (height, width):
        return np.asarray(image.crop(box))
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, box))
