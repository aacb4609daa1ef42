"""The samples of a dataset as its lists name them."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import overload

from attrs import field, frozen

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
    column: Column = field(repr=False)
    """The list that names the clip."""

    @property
    def place(self) -> Place:
        """Where the clip is named."""
        return self.column.place(self.number - 1)


_AT_ONCE = 1024


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
            return list(self._entries(self.rows[index]))
        row = self.rows[index]
        return next(self._entries([row]))

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._entries(self.rows[start : start + _AT_ONCE])

    def _entries(self, rows: Sequence[int]) -> Iterator[Entry]:
        if not rows:
            return
        # Neighbours are fetched together; a few rows between them may be no entries.
        first, stop = rows[0], rows[-1] + 1
        clips, captions = self.clips.texts[first:stop], self.captions[first:stop]
        images = None if self.images is None else self.images[first:stop]
        for row in rows:
            at = row - first
            yield Entry(
                number=row + 1,
                clip=_in_one_way(clips[at]),
                caption=self.prefix + captions[at],
                image=None if images is None else _in_one_way(images[at]),
                column=self.clips,
            )


def _in_one_way(path: str) -> str:
    """The path as a manifest has it: `./a.mp4` and `a.mp4` are one file."""
    # Hardly any list has such paths, and taking each of a million apart takes seconds.
    return str(PurePosixPath(path)) if "./" in path or "//" in path else path
