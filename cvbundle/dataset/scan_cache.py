"""What clips held when they were last opened, so that unchanged ones needn't be opened again.

One SQLite file in the user's cache folder, shared by all processes. A row is believed only where
path, size, time of change and inode of the file are the same, and the code that judged it. Nothing
is lost with the cache: one that can't be used is made anew, and where none can be made, every clip
is opened.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import define

from cvbundle.cache_folder import cache_folder
from cvbundle.dataset.identity import Identity

_TABLE = """CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, version INT, size INT, changed INT, inode INT, result TEXT
) WITHOUT ROWID"""
_BUSY_SECONDS = 10.0
_AT_ONCE = 500
"""Rows to a query: SQLite may be built for no more than 999 variables in one."""


@define
class ScanCache:
    """Results by file; see the module."""

    _database: sqlite3.Connection
    _version: int

    def lookup(self, files: Sequence[tuple[str, Identity]]) -> dict[str, str]:
        """The results that are kept for files which are as they were, by path."""
        found: dict[str, str] = {}
        for start in range(0, len(files), _AT_ONCE):
            part = {os.fsencode(path): (path, known) for path, known in files[start:][:_AT_ONCE]}
            marks = ",".join("?" * len(part))
            query = (
                "SELECT path, size, changed, inode, result FROM files "
                f"WHERE version = ? AND path IN ({marks})"
            )
            for key, size, changed, inode, result in self._rows(query, [self._version, *part]):
                path, known = part[key]
                if known == (size, changed, inode):
                    found[path] = result
        return found

    def keep(self, results: Iterable[tuple[str, Identity, str]]) -> None:
        """Remember results by path."""
        rows = [(os.fsencode(path), self._version, *known, text) for path, known, text in results]
        # What can't be written now is only opened again the next time.
        with contextlib.suppress(sqlite3.Error), self._database:
            self._database.executemany("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[bytes, int, int, int, str]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error:
            # A cache that is locked or broken is as good as an empty one.
            return []


@contextlib.contextmanager
def scan_cache(version: int, folder: Path | None = None) -> Iterator[ScanCache]:
    """The cache of what code of this `version` saw, in the user's cache folder or another."""
    database = _open((folder or cache_folder()) / "scan.sqlite")
    try:
        yield ScanCache(database, version)
    finally:
        database.close()


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(str(path))
        except sqlite3.OperationalError:
            # Locked, or on a disk without the locks that are needed: not broken.
            raise
        except sqlite3.DatabaseError:
            for name in (path, *path.parent.glob(f"{path.name}-*")):
                name.unlink(missing_ok=True)
            return _connect(str(path))
    except (OSError, sqlite3.Error):
        return _connect(":memory:")


def _connect(name: str) -> sqlite3.Connection:
    # Only one thread uses it at a time, but which one is the caller's choice.
    database = sqlite3.connect(name, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
        database.execute("SELECT path, version, size, changed, inode, result FROM files LIMIT 1")
    except BaseException:
        database.close()
        raise
    return database
