"""The sha256 of files, of which an unchanged large one is hashed once.

Corruption by a failing disk is only found by hashing, as `verify` does.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cvbundle.files.identity import identity_of
from cvbundle.files.known_files import KnownFiles, known_files

_LARGE = 1 << 20
"""The size in bytes from which hashing takes longer than a lookup."""
_WHAT = "sha256"


@contextlib.contextmanager
def known_digests(*, rehash: bool = False) -> Iterator[Callable[[Path], str]]:
    """A function that returns a file's sha256 in hex, for threads to share.

    It raises `OSError` if the file can't be read. With `rehash`, what is stored is ignored and
    replaced.
    """
    with known_files() as known:
        yield lambda path: _digest(path, known, rehash=rehash)


def _digest(path: Path, known: KnownFiles, *, rehash: bool) -> str:
    with path.open("rb") as file:
        identity = identity_of(os.fstat(file.fileno()))
        if identity.size < _LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        # A link is known as what it leads to.
        name = os.path.realpath(path)
        if not rehash and (stored := known.lookup(_WHAT, {name: identity}).get(name)):
            return stored
        began = time.time_ns()
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        changed = identity_of(os.fstat(file.fileno())) != identity
    if not changed:
        known.keep(_WHAT, [(name, identity, digest)], began=began)
    return digest
