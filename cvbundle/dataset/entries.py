"""The entries of a dataset's lists."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import overload

from attrs import field, frozen

from cvbundle.dataset.tables import Column
from cvbundle.problems import Place


@frozen(kw_only=True)
class Entry:
    """One row of a dataset's lists."""

    number: int
    """From 1."""
    clip: str
    """Path below the root, with `/`."""
    caption: str
    image: str | None = None
    """Path of the first frame's image below the root, if the dataset lists one."""
    column: Column = field(repr=False)
    """The list of clips."""

    @property
    def place(self) -> Place:
        """The place of the clip in its list."""
        return self.column.place(self.number - 1)


_CHUNK = 1024


@frozen
class Entries(Sequence[Entry]):
    """Entries made on access, so that a million of them take little memory."""

    clips: Column
    captions: Sequence[str]
    images: Sequence[str] | None
    prefix: str
    """Prepended to every caption."""
    rows: Sequence[int]
    """The rows of the lists that are entries, from 0."""

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
        for start in range(0, len(self), _CHUNK):
            yield from self._entries(self.rows[start : start + _CHUNK])

    def _entries(self, rows: Sequence[int]) -> Iterator[Entry]:
        if not rows:
            return
        # Consecutive rows are decoded together, including the few between them that aren't entries.
        first, stop = rows[0], rows[-1] + 1
        clips, captions = self.clips.texts[first:stop], self.captions[first:stop]
        images = None if self.images is None else self.images[first:stop]
        for row in rows:
            at = row - first
            yield Entry(
                number=row + 1,
                clip=_normalized(clips[at]),
                caption=self.prefix + captions[at],
                image=None if images is None else _normalized(images[at]),
                column=self.clips,
            )


def _normalized(path: str) -> str:
    """The path as written in a manifest: `./a.mp4` and `a.mp4` are one file."""
    # Few lists contain such paths, and parsing a million of them takes seconds.
    return str(PurePosixPath(path)) if "./" in path or "//" in path else path
