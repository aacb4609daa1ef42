"""Read a spec from a file, a pipe or standard input."""

import os
import stat
import sys
from pathlib import Path

from attrs import frozen

from cvbundle.problems import Place
from cvbundle.spec.rules import SPEC_UNREADABLE
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.reader import MAX_BYTES, read

STDIN = Path("-")
"""Standard input, as in most commands."""


@frozen
class SpecFile:
    """A spec's text and the folder of its paths."""

    content: bytes
    document: Document
    base: Path
    """The folder that its paths are relative to."""


def read_file(path: Path) -> SpecFile:
    """Read a spec from a file, a pipe with a writer, or standard input (`-`).

    The paths in a spec from a pipe are relative to the current folder. A file that can't be read
    gives a document with that problem.
    """
    name = "<stdin>" if path == STDIN else str(path)
    try:
        content, is_pipe = _content(path)
    except OSError as error:
        return _unreadable(name, error.strerror or str(error), _HINT)
    except ValueError:  # a zero byte
        return _unreadable(name, "this is not a path", _HINT)
    if is_pipe and not content:
        return _unreadable(name, "this pipe is empty", _HINT)
    base = Path() if is_pipe else path.parent
    return SpecFile(content, read(content, name), base)


_HINT = "give the path of a spec file"


def _content(path: Path) -> tuple[bytes, bool]:
    """The file's bytes, at most one more than a spec may have, and whether it is a pipe."""
    if path == STDIN:
        return (b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_BYTES + 1)), True
    mode = path.stat().st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode)):
        raise OSError(None, f"this is a {'folder' if stat.S_ISDIR(mode) else 'device'}")
    # Opening a pipe without a writer would block.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        os.set_blocking(file.fileno(), True)
        return file.read(MAX_BYTES + 1), stat.S_ISFIFO(mode)


def _unreadable(name: str, why: str, hint: str) -> SpecFile:
    message = why[:1].lower() + why[1:]
    problem = SPEC_UNREADABLE.problem(Place(name, 1, 1), message, hint)
    document = Document(name, {}, {}, {}, (problem,), frozenset({()}), complete=False)
    return SpecFile(b"", document, Path())
