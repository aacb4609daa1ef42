"""The lines of a text, and places in them."""

import re
from typing import Protocol

from attrs import Factory, define, field

from cvbundle.problems import Place

# libyaml ends lines at these, and so must the excerpts.
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class Mark(Protocol):
    """A position in a text, from 0, as PyYAML gives it."""

    line: int
    column: int


@define(eq=False, repr=False)
class Lines:
    """The lines of a file's text."""

    file: str
    text: str
    _lines: list[str] = field(init=False)
    _lengths: dict[int, int] = Factory(dict)

    def __attrs_post_init__(self) -> None:
        self._lines = LINE_END.split(self.text)

    def span(self, start: Mark, end: Mark) -> Place:
        """The place from one mark to another; to the end of the line if the other is below."""
        is_one_line = end.line == start.line
        width = end.column - start.column if is_one_line else len(self.text)
        return self.spot(start.line, start.column, width, whole=is_one_line and width > 0)

    def spot(self, line: int, column: int, width: int = 1, *, whole: bool = False) -> Place:
        """The place of some characters of a line; both numbers are from 0."""
        text = self._lines[line] if line < len(self._lines) else ""
        if line not in self._lengths:
            self._lengths[line] = len(text.rstrip())
        width = max(1, min(width, self._lengths[line] - column))
        return Place(self.file, line + 1, column + 1, width, text, whole)

    def error(self, mark: Mark) -> Place:
        """The place of an error; the end of the text for an error after all of it."""
        line, column = mark.line, mark.column
        here = self._lines[line][column:] if line < len(self._lines) else ""
        if not any(text.strip() for text in (here, *self._lines[line + 1 :])):
            written = [number for number, text in enumerate(self._lines) if text.strip()]
            line = written[-1] if written else 0
            column = len(self._lines[line].rstrip())
        return self.spot(line, column)

    def character(self, mark: Mark) -> str:
        """The character at a mark; empty at the end of a line."""
        text = self._lines[mark.line] if mark.line < len(self._lines) else ""
        return text[mark.column : mark.column + 1]

    def at(self, offset: int) -> Place:
        """The place of a character of the text."""
        before = self.text[:offset]
        return self.spot(before.count("\n"), len(before) - (before.rfind("\n") + 1))
