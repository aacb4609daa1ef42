"""Read columns of text from the files that list a dataset's clips."""

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.dataset.cells import checked_cell, require_rows, require_size
from cvbundle.dataset.texts import Texts
from cvbundle.problems import Place, UserError

KINDS = ".csv, .tsv, .jsonl or .parquet"


@frozen
class Column:
    """The texts of a list, each with its line number."""

    file: Path
    name: str
    """The name to show: the text file, or the column of the table."""
    texts: Texts
    lines: Sequence[int]
    shows_line: bool
    """Whether a text is a whole line, and so can be shown as an excerpt."""

    def place(self, row: int) -> Place:
        """The place of a row, from 0; past the end, the line after the last."""
        if row >= len(self.texts):
            return Place(str(self.file), (self.lines[-1] if len(self.lines) else 0) + 1, 1)
        if not self.shows_line:
            return Place(str(self.file), self.lines[row], 1)
        text = self.texts[row]
        return Place(str(self.file), self.lines[row], 1, max(1, len(text)), text)


def read_lines(path: Path, name: str) -> Column:
    """Read a text file of one entry a line; a blank line is an empty entry.

    Raises:
        UserError: it can't be read, or is not UTF-8.
    """
    text = _text(path)
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    require_rows(path, len(lines))
    texts = Texts(checked_cell(path, at, name, line) for at, line in enumerate(lines, 1))
    return Column(path, name, texts, range(1, len(texts) + 1), shows_line=True)


def read_table(path: Path, names: Sequence[str]) -> list[Column]:
    """Read the named columns of a table.

    Raises:
        UserError: it can't be read, lacks a column, or contains a value that isn't text.
    """
    columns = [Texts() for _ in names]
    lines = array("Q")
    rows = {".csv": _separated, ".tsv": _separated, ".jsonl": _json_lines, ".parquet": _parquet}
    read = rows.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{path} is not a supported table: write a {KINDS} file")
    for line, values in read(path, names):
        lines.append(line)
        require_rows(path, len(lines))
        for column, value in zip(columns, values, strict=True):
            column.append(value)
            require_size(path, column.size)
    return [
        Column(path, name, texts, lines, shows_line=False)
        for name, texts in zip(names, columns, strict=True)
    ]


def _text(path: Path) -> str:
    _require_file(path)
    try:
        require_size(path, path.stat().st_size)
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None


def _require_file(path: Path) -> None:
    """Reading a pipe would block, and a device may never end."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file")


_Rows = Iterator[tuple[int, list[str]]]


def _separated(path: Path, names: Sequence[str]) -> _Rows:
    """CSV (RFC 4180), or the same with tabs; the first row names the columns."""
    # Few datasets have such a list.
    import csv
    import io

    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=separator, strict=True)
    end = 0
    try:
        head = next(reader, [])
        named = [(name, _place(path, head, name)) for name in names]
        end = reader.line_num
        for row in reader:
            line, end = end + 1, reader.line_num
            if len(row) not in (len(head), 0):
                raise UserError(
                    f"{path}:{line}: has {len(row)} columns, the first row has {len(head)}: "
                    "quote texts that contain the separator"
                )
            # A blank line is an empty entry, as in a text file.
            yield line, [_cell(path, line, name, row, place) for name, place in named]
    except csv.Error as error:
        raise UserError(f"{path}:{end + 1}: can't be read ({error})") from None


def _cell(path: Path, line: int, name: str, row: Sequence[str], place: int) -> str:
    return checked_cell(path, line, name, row[place]) if row else ""


def _place(path: Path, head: list[str], name: str) -> int:
    if head.count(name) != 1:
        raise NoColumn(path, name, head)
    return head.index(name)


class NotAFile(UserError):
    """A list that is missing, or is a folder, a device or a pipe."""


class NoColumn(UserError):
    """A table lacks a column, or has it twice."""

    def __init__(self, path: Path, column: str, there: Sequence[str]) -> None:
        self.column = column
        times = there.count(column)
        what = f"has {times} columns {column}" if times else f"has no column {column}"
        super().__init__(f"{path} {what}: it has {', '.join(there) or 'none'}")


def _json_lines(path: Path, names: Sequence[str]) -> _Rows:
    lines = _text(path).replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield number, [""] * len(names)
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{path}:{number}: is not JSON") from None
        if not isinstance(data, dict):
            raise UserError(f"{path}:{number}: is not a JSON object")
        yield number, [_value(path, number, data, name) for name in names]


def _value(path: Path, number: int, data: dict[str, Any], name: str) -> str:
    if name not in data:
        raise UserError(f"{path}:{number}: has no {name}: it has {', '.join(data)}")
    return _as_text(path, number, name, data[name])


def _as_text(path: Path, number: int, name: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{path}:{number}: {name} is not text")
    return checked_cell(path, number, name, value)


def _parquet(path: Path, names: Sequence[str]) -> _Rows:
    from cvbundle.dataset.parquet import Parquet

    _require_file(path)
    file = Parquet(path)
    for name in names:
        if file.names.count(name) != 1:
            raise NoColumn(path, name, file.names)
    return file.rows(names)
