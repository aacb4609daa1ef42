"""`requirements.txt`: one strict reader and one writer of a bundle's lock.

pip accepts much more than versions in it: options, URLs, paths, line continuations, environment
variables, and a PEP 263 coding line that changes how the rest is decoded
(pip/_internal/req/req_file.py, `_decode_req_file`). So the file itself is never given to an
installer: what is parsed here is written anew.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from cvbundle.bundle.layout import REQUIREMENTS
from cvbundle.problems import UserError

_HEAD = "# Exact versions of what this bundle's training imports: pip install -r requirements.txt"
_PIN = re.compile(
    r"([a-z0-9]+(?:[-_.][a-z0-9]+)*)==((?:[0-9]+!)?[0-9][A-Za-z0-9]*(?:[-_.][A-Za-z0-9]+)*)",
    re.ASCII,
)
"""A distribution and its public version (PEP 440); nothing else that PEP 508 allows."""
_LIMIT = 64 << 10
"""Bytes; a lock of a hundred packages has three thousand."""


def read_requirements(folder: Path) -> dict[str, str]:
    """Distribution to version, as locked in a folder's `requirements.txt`.

    Raises:
        UserError: it can't be read, or has more than exact versions.
    """
    path = folder / REQUIREMENTS
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    return parse_requirements(content, str(path))


def parse_requirements(content: bytes, place: str) -> dict[str, str]:
    """Distribution to version, as locked in some text; `place` says where that is.

    Each line is `name==version` in ASCII and ends in a line feed. The comment that
    `requirements_text` writes can precede them. No distribution appears twice, however it is spelt.

    Raises:
        UserError: the text has anything else.
    """
    if len(content) > _LIMIT:
        raise UserError(f"{place} is larger than {_LIMIT >> 10} KiB, which no lock is")
    *lines, rest = content.split(b"\n")
    if rest:
        raise UserError(f"{place}: the last line has no line end: {_quoted(rest)}")
    if lines[:1] == [_HEAD.encode()]:
        del lines[0]
    versions: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for line in lines:
        # A byte that isn't ASCII becomes U+FFFD, which matches no pin.
        match = _PIN.fullmatch(line.decode("ascii", "replace"))
        if match is None:
            raise UserError(
                f"{place} has a line that pins no package: {_quoted(line)}: a lock has lines of "
                "name==version and nothing else"
            )
        name, locked = match.groups()
        before = spellings.setdefault(normalized(name), name)
        if name in versions or before != name:
            raise UserError(f"{place} pins {before} twice")
        versions[name] = locked
    return versions


def _quoted(line: bytes) -> str:
    return repr(line[:80].decode("ascii", "backslashreplace"))


def requirements_text(versions: Mapping[str, str]) -> str:
    """`requirements.txt` for distribution to version.

    Raises:
        UserError: a version can't be locked.
    """
    text = f"{_HEAD}\n" + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))
    parse_requirements(
        text.encode("utf-8", "surrogateescape"), "the lock of the installed packages"
    )
    return text


def normalized(name: str) -> str:
    """A distribution's normalized name, the same for all its spellings (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
