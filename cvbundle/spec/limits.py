"""Limits of values beyond their types, as data.

Each limit is an attrs validator that runs while a spec is structured. Messages, `explain` and the
JSON Schema read the limits from the fields.
"""

import re
from collections.abc import Sequence
from typing import Any

from attrs import Attribute, frozen

_SHOWN = 60
"""Characters of a value to show in a message."""


class OutOfLimits(ValueError):
    """A value of the right type that breaks a limit."""

    def __init__(self, limit: "Limit", value: object) -> None:
        self.limit = limit
        self.value = value
        super().__init__(limit, value)

    def __str__(self) -> str:
        return self.limit.refusal(self.value)


class WrongChoice(ValueError):
    """A value that is not among the allowed ones."""

    def __init__(self, choices: tuple[str, ...], value: object) -> None:
        self.choices = choices
        self.value = value
        super().__init__(choices, value)


@frozen
class Choice:
    """One of the names of a table's rows."""

    names: tuple[str, ...]

    def __call__(self, _: object, __: "Attribute[Any]", value: Any) -> None:
        """Raise `WrongChoice` for another name; null is accepted."""
        if value is not None and value not in self.names:
            raise WrongChoice(self.names, value)


@frozen(kw_only=True)
class Range:
    """Bounds of a number."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.more_than is None or value > self.more_than)
            and (self.at_most is None or value <= self.at_most)
            and (self.less_than is None or value < self.less_than)
        )

    def refusal(self, value: Any) -> str:
        """Why a number outside the bounds is refused."""
        if self.at_least is not None and value < self.at_least:
            broken = f">= {bound_text(self.at_least)}"
        elif self.more_than is not None and value <= self.more_than:
            broken = f"> {bound_text(self.more_than)}"
        elif self.at_most is not None and value > self.at_most:
            broken = f"<= {bound_text(self.at_most)}"
        else:
            assert self.less_than is not None
            broken = f"< {bound_text(self.less_than)}"
        return f"must be {broken}, not {value}"

    def __call__(self, _: object, __: "Attribute[Any]", value: Any) -> None:
        """Raise `OutOfLimits` for a number outside the bounds; null is accepted."""
        _check(self, value)


@frozen(kw_only=True)
class Length:
    """Bounds of the length of a text, in characters, or of a list, in items."""

    at_least: int = 0
    at_most: int | None = None

    def holds(self, value: Any) -> bool:
        """Whether the length of a text or list is within the bounds."""
        return len(value) >= self.at_least and (self.at_most is None or len(value) <= self.at_most)

    def refusal(self, value: Any) -> str:
        """Why a text or list of another length is refused."""
        too_short = len(value) < self.at_least
        bound = f">= {self.at_least}" if too_short else f"<= {self.at_most}"
        return f"its length must be {bound}, not {len(value)}"

    def __call__(self, _: object, __: "Attribute[Any]", value: Any) -> None:
        """Raise `OutOfLimits` for a text or list of another length; null is accepted."""
        _check(self, value)


@frozen
class Pattern:
    """A regular expression that a whole text must match."""

    regex: str

    def holds(self, value: Any) -> bool:
        """Whether the whole text matches."""
        return re.fullmatch(self.regex, value) is not None

    def refusal(self, value: Any) -> str:
        """Why a text that doesn't match is refused."""
        text = str(value)
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return f"{shown} has a character or a length that is not allowed"

    def __call__(self, _: object, __: "Attribute[Any]", value: Any) -> None:
        """Raise `OutOfLimits` for a text that doesn't match; null is accepted."""
        _check(self, value)


@frozen(kw_only=True)
class Items:
    """Limits of a list and of each of its items."""

    length: Length = Length()
    each: "Range | Length | Pattern | None" = None

    def broken(self, items: Sequence[Any]) -> "list[tuple[int, OutOfLimits]]":
        """The items that break their limit, each with its index."""
        if self.each is None:
            return []
        return [
            (index, OutOfLimits(self.each, item))
            for index, item in enumerate(items)
            if not self.each.holds(item)
        ]

    def __call__(self, _: object, __: "Attribute[Any]", value: Any) -> None:
        """Raise `OutOfLimits` for a list of another length, or for its first invalid item."""
        _check(self.length, value)
        for _index, error in self.broken(value):
            raise error


Limit = Range | Length | Pattern
"""A limit of one value."""

AT_LEAST_ONE = Range(at_least=1)
POSITIVE = Range(more_than=0)
NOT_NEGATIVE = Range(at_least=0)
SHARE = Range(at_least=0, at_most=1)
NOT_EMPTY = Length(at_least=1)


def _check(limit: Limit, value: Any) -> None:
    if value is not None and not limit.holds(value):
        raise OutOfLimits(limit, value)


def bound_text(bound: float) -> str:
    """A bound as text."""
    return f"{bound:g}" if abs(bound) < 1e6 else "2^64 - 1" if bound == 2**64 - 1 else str(bound)
