"""A value that is not the same in two bundles or runs."""

from typing import Any

from attrs import frozen


@frozen
class Change:
    """A value that differs; None on a side that lacks it."""

    name: str
    before: Any
    after: Any
