"""The results of probing clips, cached so that unchanged ones aren't opened again.

One SQLite file in the user's cache folder, shared by all processes. A row is valid only while the
file's path, size, inode, mtime and ctime are unchanged, and the version of the probe. The cache is
disposable: a broken one is recreated, and without one, every clip is opened.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import define

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.identity import Identity
from cvbundle.dataset.probing import ProbeResult
from cvbundle.dataset.results import result_as_text, result_from_text
from cvbundle.files.cache_folder import cache_folder

_TABLE = """CREATE TABLE IF NOT EXISTS seen (
    path BLOB PRIMARY KEY, version INT, size INT, changed INT, inode INT, status INT, digest TEXT,
    facts TEXT
) WITHOUT ROWID"""
_FORMER = "DROP TABLE IF EXISTS files"
"""The former table, without a status."""
_BUSY_SECONDS = 10.0
_ROWS_PER_QUERY = 500
"""SQLite may be built with a limit of 999 variables per query."""


@define
class ScanCache:
    """The cached results of probing files; see the module."""

    _database: sqlite3.Connection
    _version: int

    def lookup(self, files: Mapping[str, Identity]) -> dict[str, ProbeResult]:
        """The cached results of the files that are unchanged, by path."""
        results: dict[str, ProbeResult] = {}
        paths = list(files)
        for start in range(0, len(paths), _ROWS_PER_QUERY):
            part = {os.fsencode(path): path for path in paths[start : start + _ROWS_PER_QUERY]}
            for key, size, changed, inode, status, digest, facts in self._rows(list(part)):
                path = part[key]
                if files[path] == (size, changed, inode, status):
                    results[path] = result_from_text(digest, size, facts)
        return results

    def _rows(self, keys: list[bytes]) -> list[tuple[bytes, int, int, int, int, str, str]]:
        marks = ",".join("?" * len(keys))
        query = (
            "SELECT path, size, changed, inode, status, digest, facts FROM seen "
            f"WHERE version = ? AND path IN ({marks})"
        )
        try:
            return self._database.execute(query, [self._version, *keys]).fetchall()
        except sqlite3.Error:
            # A locked or broken cache is treated as empty.
            return []

    def keep(self, results: Iterable[tuple[str, Identity, ProbeResult]]) -> None:
        """Store the results of files, except temporary failures."""
        rows = [
            (os.fsencode(path), self._version, *identity, *result_as_text(result))
            for path, identity, result in results
            if not isinstance(result, BadClip) or result.lasting
        ]
        # If the write fails, the files are only opened again next time.
        with contextlib.suppress(sqlite3.Error), self._database:
            self._database.executemany("REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


@contextlib.contextmanager
def scan_cache(version: int, folder: Path | None = None) -> Iterator[ScanCache]:
    """The cache of this `version` of the probe, in `folder` or the user's cache folder."""
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
            # Locked, or on a file system without locks: not broken.
            raise
        except sqlite3.DatabaseError:
            for name in (path, *path.parent.glob(f"{path.name}-*")):
                name.unlink(missing_ok=True)
            return _connect(str(path))
    except (OSError, sqlite3.Error):
        return _connect(":memory:")


def _connect(name: str) -> sqlite3.Connection:
    # Only one thread uses it at a time, but not always the same one.
    database = sqlite3.connect(name, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
        database.execute(_FORMER)
        database.execute("SELECT version, status, digest, facts FROM seen LIMIT 1")
    except BaseException:
        database.close()
        raise
    return database
