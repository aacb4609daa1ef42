"""Read JSON objects from files that may be damaged, or come from elsewhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvbundle.problems import UserError


class DamagedFile(UserError):
    """A file isn't what should be there; the message names it, and says what to do."""


def read_object(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object that a file contains; `advice` ends the message of an error.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it can't be read, or doesn't contain exactly one JSON object.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error, advice) from None
    return parse_object(content, str(path), advice)


def read_rows(
    path: Path, advice: str, *, is_growing: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON object on each line of a file, with the line's number from 1.

    With `is_growing`, a last line without a line end is still being written, and is left out.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it can't be read, or a line isn't a JSON object.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield number, parse_object(line, at_line(path, number), advice)
                elif not is_growing:
                    raise DamagedFile(f"{at_line(path, number)}: the line is cut off: {advice}")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error, advice) from None


def parse_object(content: bytes, place: str, advice: str) -> dict[str, Any]:
    """The JSON object in some bytes; `place` says where they are.

    Raises:
        DamagedFile: they are something else.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedFile(f"{place}: this is not JSON, or it is cut off: {advice}") from None
    if not isinstance(data, dict):
        raise DamagedFile(f"{place}: this is not a JSON object: {advice}")
    return data


def at_line(path: Path, number: int) -> str:
    """A line of a file, as a message names it."""
    return f"{path}:{number}"


def unreadable(path: Path, error: OSError, advice: str) -> DamagedFile:
    """The error of a file that can't be read."""
    return DamagedFile(f"{path} can't be read ({error.strerror}): {advice}")
