"""`requirements.txt`: one strict reader and one writer of a bundle's lock.

pip takes much more there than versions: options, URLs, paths, line continuations, environment
variables, and a PEP 263 coding line, under which the same bytes are another text
(pip/_internal/req/req_file.py, `_decode_req_file`). So the file itself is never given to an
installer: what is parsed here is written again.
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


def read_requirements(bundle: Path) -> dict[str, str]:
    """Distribution to version, as a bundle's lock says.

    Raises:
        UserError: there is no such file, or it holds more than exact versions.
    """
    path = bundle / REQUIREMENTS
    try:
        with path.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    return parse_requirements(content, str(path))


def parse_requirements(content: bytes, called: str) -> dict[str, str]:
    """Distribution to version, as the text of a lock says; `called` is its name in errors.

    Each line is `name==version` in ASCII and ends in a line feed; before the first there may be the
    comment that `requirements_text` writes. No distribution is there twice, however it is spelt.

    Raises:
        UserError: anything else is there.
    """
    if len(content) > _LIMIT:
        raise UserError(f"{called} has more than {_LIMIT >> 10} KiB: a lock is shorter")
    *lines, rest = content.split(b"\n")
    if rest:
        raise UserError(f"{called}: the last line does not end: {_shown(rest)}")
    if lines[:1] == [_HEAD.encode()]:
        del lines[0]
    versions: dict[str, str] = {}
    spellings: dict[str, str] = {}
    for line in lines:
        # Of bytes that aren't ASCII each becomes U+FFFD, which no pin has.
        match = _PIN.fullmatch(line.decode("ascii", "replace"))
        if match is None:
            raise UserError(
                f"{called} has a line that pins no package: {_shown(line)}: a lock has lines of "
                "name==version and nothing else"
            )
        name, locked = match.groups()
        before = spellings.setdefault(normalized(name), name)
        if name in versions or before != name:
            raise UserError(f"{called} pins {before} twice")
        versions[name] = locked
    return versions


def _shown(line: bytes) -> str:
    return repr(line[:80].decode("ascii", "backslashreplace"))


def requirements_text(versions: Mapping[str, str]) -> str:
    """`requirements.txt` for distribution to version.

    Raises:
        UserError: a version is not one that can be locked.
    """
    text = f"{_HEAD}\n" + "".join(f"{name}=={versions[name]}\n" for name in sorted(versions))
    parse_requirements(text.encode("utf-8", "surrogateescape"), "the lock of what is installed")
    return text


def normalized(name: str) -> str:
    """A distribution's name as all its spellings are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
