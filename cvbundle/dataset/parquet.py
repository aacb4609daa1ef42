"""Read columns of text from a Parquet file, which may state a thousand times its own size."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cvbundle.dataset.cells import checked_cell, require_rows, require_size
from cvbundle.problems import UserError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

T = TypeVar("T")

_ROWS = 4096
"""Rows that are read at a time."""


class Parquet:
    """A Parquet file, whose repeated texts are kept once.

    Raises:
        UserError: pyarrow isn't installed, or the file isn't Parquet.
    """

    def __init__(self, path: Path) -> None:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise UserError(
                f"{path}: reading Parquet needs pyarrow: pip install 'cvbundle[parquet]'"
            ) from None
        self._path = path
        self._errors = ArrowException
        self._file_class = ParquetFile
        self.names: list[str] = self._guarded(lambda: self._opened(()).schema_arrow.names)

    def rows(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """The texts of these columns, with the number of their row from 1.

        Raises:
            UserError: a column isn't text, or a text or all of them are too long.
        """
        columns = list(dict.fromkeys(names))
        self._guarded(lambda: self._check(columns))
        file = self._guarded(lambda: self._opened(self._text_columns(columns)))
        batches = file.iter_batches(batch_size=_ROWS, columns=columns, use_threads=False)
        number = 0
        while (batch := self._guarded(lambda: next(batches, None))) is not None:
            texts = [self._texts(batch.column(name), name, number) for name in columns]
            for values in zip(*texts, strict=True):
                number += 1
                by_name = dict(zip(columns, values, strict=True))
                yield number, [by_name[name] for name in names]

    def _opened(self, repeated: Sequence[str]) -> "ParquetFile":
        return self._file_class(self._path, read_dictionary=list(repeated), pre_buffer=False)

    def _text_columns(self, names: Sequence[str]) -> list[str]:
        from pyarrow import types

        schema = self._opened(()).schema_arrow
        return [name for name in names if not types.is_null(schema.field(name).type)]

    def _check(self, names: Sequence[str]) -> None:
        """Refuse what can't be read, by the file's own description of itself."""
        from pyarrow import types

        file = self._opened(())
        require_rows(self._path, file.metadata.num_rows)
        for name in names:
            kind = file.schema_arrow.field(name).type
            kind = kind.value_type if types.is_dictionary(kind) else kind
            if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
                raise UserError(f"{self._path}:1: {name} is not text")
        for group in range(file.metadata.num_row_groups):
            described = file.metadata.row_group(group)
            for index in range(described.num_columns):
                column = described.column(index)
                if column.path_in_schema in names:
                    require_size(self._path, column.total_uncompressed_size)

    def _texts(self, column: Any, name: str, before: int) -> Iterator[str]:
        """The texts of a batch's column, of which `before` rows were read already."""
        from pyarrow import types

        if types.is_null(column.type):
            yield from [""] * len(column)
            return
        written = column.dictionary.to_pylist()
        checked: dict[int, str] = {}
        for row, index in enumerate(column.indices.to_pylist(), before + 1):
            if index is None:
                yield ""
                continue
            if index not in checked:
                checked[index] = checked_cell(self._path, row, name, written[index] or "")
            yield checked[index]

    def _guarded(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{self._path} can't be read ({reason})") from None
        except self._errors as error:
            raise UserError(f"{self._path} can't be read as Parquet ({error})") from None
