"""How a file or a value differs from what it should be: data, worded in one place."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import frozen

from cvbundle.bundle.layout import SUMS

_WORDS = {
    "added": "{path} was added",
    "bytes": "{path} has other bytes",
    "link": "{path} is a link",
    "missing": "{path} is missing",
    "not a file": "{path} is not a file",
    "size": "{path} has {actual:,} bytes instead of {expected:,}",
    "unknown": "{path} is not a file of a bundle",
    "unlisted": f"{SUMS} does not list {{path}}",
    "unreadable": "{path} can't be read ({actual})",
    "digest": "the folder is named {actual}, its digest is {expected}",
    "name": "the folder is named {actual}, and contains bundle {expected}, which is whole: "
    "if that is the one you mean, rename the folder to {expected}",
    "sums": "{actual}",
}


@frozen
class FileDifference:
    """A file, or a bundle's folder, that isn't as compiled."""

    path: str
    """Below the folder that it belongs to, with `/`."""
    kind: Literal[
        "added",
        "bytes",
        "digest",
        "link",
        "missing",
        "name",
        "not a file",
        "size",
        "sums",
        "unknown",
        "unlisted",
        "unreadable",
    ]
    expected: str | int | None = None
    actual: str | int | None = None

    def __str__(self) -> str:
        return _WORDS[self.kind].format(path=self.path, expected=self.expected, actual=self.actual)


@frozen
class Change:
    """A value that differs between two bundles or runs; None on a side that lacks it."""

    name: str
    before: Any
    after: Any


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The values that differ between two mappings, in the order of the first one's names."""
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def listed(differences: Iterable[object], most: int = 3) -> str:
    """The first differences in one sentence, and how many more there are."""
    texts = [str(difference) for difference in differences]
    more = f" (and {len(texts) - most} more)" if len(texts) > most else ""
    return f"{'; '.join(texts[:most])}{more}"
