"""Canonical JSON and sha256 digests."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

_NOT_IN_YAML = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def canonical_json(data: Any) -> bytes:
    """The canonical JSON of some data: sorted keys, no whitespace, ASCII, no NaN, no line end.

    Floats are written as by Python's `repr`: the shortest text that reads back the same.
    """
    return json.dumps(
        data, sort_keys=True, allow_nan=False, ensure_ascii=True, separators=(",", ":")
    ).encode()


def json_file(data: Any) -> bytes:
    """Readable JSON for a file: sorted keys, indented, with a line end.

    It is also valid YAML: characters that YAML refuses or reads as a line end are escaped.
    """
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False, indent=2)
    return f"{_NOT_IN_YAML.sub(_escape, text)}\n".encode()


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    """The sha256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()
