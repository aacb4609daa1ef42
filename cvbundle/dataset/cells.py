"""Limits on the texts of a dataset's lists, whatever a file can be expanded to."""

from pathlib import Path

from cvbundle.problems import UserError

MAX_CHARACTERS = 1 << 14
"""Of a caption or a path: eighty times what the models read of a caption (226 tokens)."""
MAX_ROWS = 10_000_000
MAX_BYTES = 1 << 30
"""Of a file of text, of a column, and of what a Parquet column expands to."""


def checked_cell(path: Path, line: int, name: str, text: str) -> str:
    """A text of a list, with spaces around it removed.

    Raises:
        UserError: it is too long, or contains half of a character.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"{path}:{line}: {name} has {len(text):,} characters; at most {MAX_CHARACTERS:,} "
            "are read: shorten it"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{path}:{line}: {name} contains {text[error.start]!a}, which is half of a "
                "character: correct it"
            ) from None
    return text


def require_rows(path: Path, rows: int) -> None:
    """Raise `UserError` for more rows than are read."""
    if rows > MAX_ROWS:
        raise UserError(f"{path} has more than {MAX_ROWS:,} rows: split it")


def require_size(path: Path, size: int) -> None:
    """Raise `UserError` for more bytes than are read."""
    if size > MAX_BYTES:
        raise UserError(f"{path} contains {size:,} bytes of text; at most {MAX_BYTES:,} are read")
