"""First frames in separate image files."""

import io
from pathlib import Path

from attrs import frozen
from PIL import Image as Pillow

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.rules import CLIP_UNREADABLE
from cvbundle.files.digest import sha256_bytes


@frozen
class ImageFile:
    """An image file."""

    digest: str
    size: int
    """Bytes."""


def probe_image(path: Path) -> ImageFile:
    """Read and decode an image.

    Raises:
        BadClip: it can't be read or decoded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = f"can't be read ({error.strerror})"
        raise BadClip(CLIP_UNREADABLE, reason, lasting=False) from None
    try:
        with Pillow.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):
        # What Pillow raises for broken files (documentation of `Image.open` and `load`).
        raise BadClip(CLIP_UNREADABLE, "is not an image that can be decoded") from None
    return ImageFile(sha256_bytes(content), len(content))
