"""Digests of large files, so that one which did not change is hashed once.

A digest is believed where size, inode and both times (of writing, of change) of the file are what
they were when it was hashed. Whoever writes to a file changes the second of these times, even if
the first is set back. What a failing disk changes is found by hashing only, as `verify` does.

Each is a small file in the user's cache folder, not a row of a database: a bundle also trains where
there is none. Nothing is lost with them but time.
"""

import hashlib
import os
import re
import time
from pathlib import Path

from cvbundle.cache_folder import cache_folder
from cvbundle.digest import sha256_bytes
from cvbundle.durable import write_bytes
from cvbundle.problems import UserError

_LARGE = 1 << 20
"""Bytes from which on hashing takes longer than looking up."""
_SETTLED_NS = 2_000_000_000
"""A file that was written less than this before could be written again at the same time as far as
its times tell: they are counted in steps of up to two seconds, on FAT."""

_ENTRY = re.compile(rb"([0-9a-f]{64}) (\d+ \d+ \d+ \d+)\n")


def digest_of(path: Path, *, rehash: bool = False) -> str:
    """The sha256 of a file in hex: as it is known, or by hashing, after which it is known.

    With `rehash`, what is known is not believed.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < _LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        state = _state(status)
        known = None if rehash else _read(path, state)
        if known is not None:
            return known
        began = time.time_ns()
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        unchanged = _state(os.fstat(file.fileno())) == state
    if unchanged and max(status.st_mtime_ns, status.st_ctime_ns) + _SETTLED_NS <= began:
        _write(path, state, digest)
    return digest


def _state(status: os.stat_result) -> bytes:
    numbers = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return b"%d %d %d %d" % numbers


def entry_of(path: Path) -> Path:
    """Where the digest of a file is kept, if it is."""
    name = sha256_bytes(os.fsencode(os.path.realpath(path)))
    return cache_folder() / "digests" / name[:2] / name


def _read(path: Path, state: bytes) -> str | None:
    try:
        match = _ENTRY.fullmatch(entry_of(path).read_bytes())
    except (OSError, UserError):
        return None
    return match[1].decode() if match is not None and match[2] == state else None


def _write(path: Path, state: bytes, digest: str) -> None:
    try:
        entry = entry_of(path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(entry, b"%s %s\n" % (digest.encode(), state))
    except (OSError, UserError):
        # On a full disk, or for a user without a home: it is hashed again the next time.
        return
