"""Images in files of their own: first frames, and images to validate with."""

import io
from pathlib import Path

from attrs import frozen
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.limits import MAX_PIXELS, too_large
from cvbundle.files.digest import sha256_bytes

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow knows some forty others; for EPS it starts Ghostscript."""


@frozen
class ImageFile:
    """An image file."""

    digest: str
    size: int
    """Bytes."""


def open_image(content: bytes) -> Pillow.Image:
    """Decode an image.

    Raises:
        BadClip: it is in another format, has too many pixels, or can't be decoded.
    """
    try:
        image = Pillow.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        raise BadClip("clip-unreadable", f"is not an image ({', '.join(_FORMATS)})") from None
    except _BROKEN:
        raise _undecodable() from None
    if image.width * image.height > MAX_PIXELS:
        raise too_large(image.height, image.width)
    try:
        image.load()
    except _BROKEN:
        raise _undecodable() from None
    return image


_BROKEN = (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError)
"""What Pillow raises for broken files (documentation of `Image.open` and `load`)."""


def _undecodable() -> BadClip:
    return BadClip("clip-unreadable", "is not an image that can be decoded")


def probe_image(path: Path) -> ImageFile:
    """Read and decode an image.

    Raises:
        BadClip: it can't be read or decoded; see `open_image`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = f"can't be read ({error.strerror})"
        raise BadClip("clip-unreadable", reason, lasting=False) from None
    open_image(content)
    return ImageFile(sha256_bytes(content), len(content))
