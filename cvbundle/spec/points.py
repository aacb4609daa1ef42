"""The points of a sweep, each a document of its own; a spec without a sweep is one point."""

from collections.abc import Mapping

from attrs import evolve, frozen

from cvbundle.problems import Path, Place
from cvbundle.spec.text.document import Document

AT: Path = ("sweep",)


@frozen
class Point:
    """One experiment of a sweep; without a sweep, the only one, which has no name."""

    settings: tuple[str, ...]
    """The swept fields with their values: `lora.rank=64`."""
    document: Document
    """The spec without `sweep`, with the point's values in place."""

    @property
    def name(self) -> str:
        """All of its settings; empty without a sweep."""
        return ", ".join(self.settings)


def points(document: Document) -> tuple[Point, ...]:
    """Every point of a document's sweep, in order; the last field changes fastest.

    Problems with the sweep itself are among those of every point. At least one point is returned.
    """
    base = _without_sweep(document)
    if document.data.get("sweep") is None and AT not in document.invalid:
        return (Point((), base),)
    # Most specs have none, and need nothing of this.
    from cvbundle.spec.sweep import swept

    return swept(document, base)


def _without_sweep(document: Document) -> Document:
    def kept(places: Mapping[Path, Place]) -> dict[Path, Place]:
        return {path: place for path, place in places.items() if path[:1] != AT}

    return evolve(
        document,
        data={key: value for key, value in document.data.items() if key != "sweep"},
        values=kept(document.values),
        keys=kept(document.keys),
        invalid=frozenset(path for path in document.invalid if path[:1] != AT),
    )
