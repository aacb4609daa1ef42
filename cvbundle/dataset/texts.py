"""A compact sequence of many short texts."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import overload

_CHUNK = 1024


class Texts(Sequence[str]):
    """Texts in one buffer of UTF-8: Python strings would take several times as much memory."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    @property
    def size(self) -> int:
        """Bytes of all texts."""
        return len(self._bytes)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._decoded(start, stop)
            return [self[at] for at in range(start, stop, step)]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end = self._ends[index : index + 2]
        return self._bytes[start:end].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _CHUNK):
            yield from self._decoded(start, min(start + _CHUNK, len(self)))

    def _decoded(self, start: int, stop: int) -> list[str]:
        """Consecutive texts, decoded together: one by one takes five times as long."""
        ends = self._ends[start : stop + 1]
        if len(ends) < 2:
            return []
        base, content = ends[0], self._bytes[ends[0] : ends[-1]]
        if content.isascii():
            text = content.decode("ascii")
            return [text[first - base : end - base] for first, end in pairwise(ends)]
        return [
            content[first - base : end - base].decode("utf-8", "surrogatepass")
            for first, end in pairwise(ends)
        ]
