"""Cache the digests of large files, so that an unchanged file is hashed once.

A digest is valid while the file's size, inode, mtime and ctime are those at the time of hashing.
Writing to a file changes its ctime, even if the mtime is reset. Corruption by a failing disk is
only found by hashing, as `verify` does.

Each digest is a small file in the user's cache folder, not a row of a database: bundles also train
without one. Losing the cache costs only time.
"""

import hashlib
import os
import re
import time
from pathlib import Path

from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.digest import sha256_bytes
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError

_LARGE = 1 << 20
"""The size in bytes from which hashing takes longer than a lookup."""
_SETTLED_NS = 2_000_000_000
"""A file modified more recently could be modified again without a change of its times, whose
resolution is up to two seconds (FAT)."""

_ENTRY = re.compile(rb"([0-9a-f]{64}) (\d+ \d+ \d+ \d+)\n")


def digest_of(path: Path, *, rehash: bool = False) -> str:
    """The sha256 of a file in hex, from the cache or by hashing.

    With `rehash`, the cached digest is ignored and replaced.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < _LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        state = _state(status)
        cached = None if rehash else _read(path, state)
        if cached is not None:
            return cached
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
    """The path of a file's cached digest."""
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
        # A full disk, or a user without a home: the file is hashed again next time.
        return
