"""The samples of a dataset as its lists name them."""

from collections.abc import Iterator, Sequence
from typing import overload

from attrs import frozen

from cvbundle.dataset.tables import Column
from cvbundle.problems import Place


@frozen(kw_only=True)
class Entry:
    """One sample as the dataset lists it."""

    number: int
    """From 1."""
    clip: str
    """Path below the root, with `/`."""
    caption: str
    image: str | None = None
    """Path of the first frame's file below the root, where the dataset lists one."""
    place: Place
    """Where the clip is named."""


@frozen
class Entries(Sequence[Entry]):
    """Entries that are put together only when they are looked at, so that a million are no load."""

    clips: Column
    captions: Sequence[str]
    images: Sequence[str] | None
    prefix: str
    """Put before every caption."""
    rows: Sequence[int]
    """Which rows of the lists are entries, from 0."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            return [self._entry(row) for row in self.rows[index]]
        return self._entry(self.rows[index])

    def __iter__(self) -> Iterator[Entry]:
        return map(self._entry, self.rows)

    def _entry(self, row: int) -> Entry:
        return Entry(
            number=row + 1,
            clip=self.clips.texts[row],
            caption=self.prefix + self.captions[row],
            image=None if self.images is None else self.images[row],
            place=self.clips.place(row),
        )
