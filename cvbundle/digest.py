"""Content as bytes and as digests: one canonical JSON, one way to hash a file."""

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(data: Any) -> bytes:
    """The one JSON text of some data: sorted keys, no blanks, ASCII, no NaN, no line end.

    Floats are written as Python's `repr` writes them: the shortest text that reads back the same.
    """
    return json.dumps(
        data, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":")
    ).encode()


def json_file(data: Any) -> bytes:
    """The same for a file that a person may open: indented, with a line end."""
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False, indent=2)
    return f"{text}\n".encode()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """The sha256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()
