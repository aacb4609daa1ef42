"""What is known of files that did not change since they were read.

One SQLite file in the user's cache folder, shared by all processes. A row is valid only while the
file has the identity that it had when it was read, and is written only if that identity shows every
later change. The store is disposable: a broken one is recreated, and without one, or without
Python's sqlite3, every file is read again.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.identity import Identity
from cvbundle.problems import UserError

if TYPE_CHECKING:
    import sqlite3

NAME = "files.sqlite"
_TABLE = """CREATE TABLE IF NOT EXISTS known (
    path BLOB, what TEXT, version INT, size INT, changed INT, inode INT, status INT, value TEXT,
    PRIMARY KEY (path, what)
) WITHOUT ROWID"""
_BUSY_SECONDS = 10.0
_ROWS_PER_QUERY = 500
"""SQLite may be built with a limit of 999 variables per query."""


class KnownFiles:
    """The store; threads may share it."""

    def __init__(self, database: "sqlite3.Connection | None") -> None:
        self._database = database
        self._lock = Lock()

    def lookup(
        self, what: str, files: Mapping[str, Identity], *, version: int = 1
    ) -> dict[str, str]:
        """The values of the files that are unchanged, by path.

        Args:
            what: what the values are, such as `sha256`.
            files: paths, and the identities that the files have now.
            version: that of the code which made the values.
        """
        values: dict[str, str] = {}
        paths = list(files)
        for start in range(0, len(paths), _ROWS_PER_QUERY):
            part = {os.fsencode(path): path for path in paths[start : start + _ROWS_PER_QUERY]}
            for key, size, changed, inode, status, value in self._rows(what, version, list(part)):
                path = part[key]
                if files[path] == (size, changed, inode, status):
                    values[path] = value
        return values

    def _rows(
        self, what: str, version: int, keys: list[bytes]
    ) -> list[tuple[bytes, int, int, int, int, str]]:
        if self._database is None:
            return []
        import sqlite3

        marks = ",".join("?" * len(keys))
        query = (
            "SELECT path, size, changed, inode, status, value FROM known "
            f"WHERE what = ? AND version = ? AND path IN ({marks})"
        )
        try:
            with self._lock:
                return self._database.execute(query, [what, version, *keys]).fetchall()
        except sqlite3.Error:
            # A locked or broken store is treated as empty.
            return []

    def keep(
        self,
        what: str,
        values: Iterable[tuple[str, Identity, str]],
        *,
        began: int,
        version: int = 1,
    ) -> None:
        """Store values of files, but for those whose identity wouldn't show a later change.

        Args:
            what: see `lookup`.
            values: paths, the identities before the files were read, and the values.
            began: when the first of the files was read, in nanoseconds since the epoch.
            version: see `lookup`.
        """
        if self._database is None:
            return
        import sqlite3

        rows = [
            (os.fsencode(path), what, version, *identity, value)
            for path, identity, value in values
            if identity.is_settled(began)
        ]
        # If the write fails, the files are only read again next time.
        with contextlib.suppress(sqlite3.Error), self._lock, self._database:
            self._database.executemany("REPLACE INTO known VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


@contextlib.contextmanager
def known_files(folder: Path | None = None) -> Iterator[KnownFiles]:
    """The store in `folder`, or in the user's cache folder."""
    database = _open(folder)
    try:
        yield KnownFiles(database)
    finally:
        if database is not None:
            database.close()


def _open(folder: Path | None) -> "sqlite3.Connection | None":
    try:
        import sqlite3
    except ImportError:
        return None
    try:
        path = (folder or cache_folder()) / NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _connect(path)
        except sqlite3.OperationalError:
            # Locked, or on a file system without locks: not broken.
            raise
        except sqlite3.DatabaseError:
            for name in (path, *path.parent.glob(f"{path.name}-*")):
                name.unlink(missing_ok=True)
            return _connect(path)
    except (OSError, UserError, sqlite3.Error):
        return None


def _connect(path: Path) -> "sqlite3.Connection":
    import sqlite3

    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    with contextlib.ExitStack() as failed:
        failed.callback(database.close)
        # Not WAL, whose shared memory works on one machine only: machines may share the folder.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
        database.execute("SELECT what, version, status, value FROM known LIMIT 1")
        failed.pop_all()
    return database
