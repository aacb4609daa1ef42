"""Frames, height and width, as a spec writes them."""

import re

from attrs import field, frozen
from attrs.validators import ge

_RESOLUTION = re.compile(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})")


@frozen(order=True)
class Resolution:
    """Frames, height and width (pixels) of every training sample."""

    frames: int = field(validator=ge(1))
    height: int = field(validator=ge(1))
    width: int = field(validator=ge(1))

    @classmethod
    def parse(cls, text: str) -> "Resolution":
        """Read `FxHxW`.

        Raises:
            ValueError: the text is not three whole numbers joined by `x`.
        """
        match = _RESOLUTION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} is not FxHxW: frames, height and width, like 49x480x720")
        return cls(*(int(group) for group in match.groups()))

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"
