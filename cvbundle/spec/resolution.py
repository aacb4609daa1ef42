"""The resolution of a spec: frames, height and width."""

import re

from attrs import field, frozen

from cvbundle.spec.limits import AT_LEAST_ONE

_RESOLUTION = re.compile(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})")


@frozen(order=True)
class Resolution:
    """Frames, height and width (pixels) of every training sample."""

    frames: int = field(validator=AT_LEAST_ONE)
    height: int = field(validator=AT_LEAST_ONE)
    width: int = field(validator=AT_LEAST_ONE)

    @classmethod
    def parse(cls, text: str) -> "Resolution | None":
        """Parse `FxHxW`; None if the text is not three whole numbers joined by `x`.

        Raises:
            OutOfLimits: one of them is 0.
        """
        match = _RESOLUTION.fullmatch(text)
        return None if match is None else cls(*(int(group) for group in match.groups()))

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"
