"""A spec's file, and what its paths are relative to."""

import os
import stat
import sys
from pathlib import Path

from attrs import frozen

from cvbundle.problems import Place
from cvbundle.spec.rules import SPEC_UNREADABLE
from cvbundle.spec.source import MAX_BYTES, Document, read

STDIN = Path("-")
"""Stands for standard input, as for most commands."""


@frozen
class SpecFile:
    """A spec as it was read."""

    content: bytes
    document: Document
    base: Path
    """The folder that its paths are relative to."""


def read_file(path: Path) -> SpecFile:
    """Read a spec from a file, a pipe that is written to, or standard input (`-`).

    What comes through a pipe has no folder: its paths are relative to the current one. A file that
    can't be read is a document with that problem.
    """
    name = "<stdin>" if path == STDIN else str(path)
    try:
        content, is_pipe = _content(path)
    except OSError as error:
        return _unreadable(name, error.strerror or str(error), "name a spec file")
    except ValueError:  # a zero byte
        return _unreadable(name, "this is not a path", "name a spec file")
    if is_pipe and not content:
        return _unreadable(name, "nothing comes out of this pipe", "name a spec file")
    base = Path() if is_pipe else path.parent
    return SpecFile(content, read(content, name), base)


def _content(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, one more than a spec may have, and whether it is a pipe."""
    if path == STDIN:
        return (b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)), True
    mode = path.stat().st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        raise OSError(None, f"this is a {'folder' if stat.S_ISDIR(mode) else 'device'}")
    # A pipe that nobody writes to would be waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        os.set_blocking(file.fileno(), True)
        return file.read(MAX_BYTES + 1), stat.S_ISFIFO(mode)


def _unreadable(name: str, why: str, hint: str) -> SpecFile:
    message = why[:1].lower() + why[1:]
    problem = SPEC_UNREADABLE.problem(Place(name, 1, 1), message, hint)
    document = Document(name, {}, {}, {}, (problem,), frozenset({()}), complete=False)
    return SpecFile(b"", document, Path())
