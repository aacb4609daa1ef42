"""What clips held when they were last opened, so that unchanged ones needn't be opened again.

One SQLite file in the user's cache folder, shared by all processes. A row is believed only where
path, size, inode and both times of change (of content, and of permissions and names) of the file
are the same, and the code that judged it. Nothing is lost with the cache: one that can't be used is
made anew, and where none can be made, every clip is opened.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from attrs import asdict, define

from cvbundle.cache_folder import cache_folder
from cvbundle.dataset.container import BadClip
from cvbundle.dataset.identity import Identity
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.opening import Seen
from cvbundle.dataset.probe import Facts, Probed
from cvbundle.problems import declared

_TABLE = """CREATE TABLE IF NOT EXISTS seen (
    path BLOB PRIMARY KEY, version INT, size INT, changed INT, inode INT, status INT, digest TEXT,
    facts TEXT
) WITHOUT ROWID"""
_FORMER = "DROP TABLE IF EXISTS files"
"""The table before it had a status."""
_BUSY_SECONDS = 10.0
_AT_ONCE = 500
"""Rows to a query: SQLite may be built for no more than 999 variables in one."""


@define
class ScanCache:
    """What was seen of files; see the module."""

    _database: sqlite3.Connection
    _version: int

    def lookup(self, files: Mapping[str, Identity]) -> dict[str, Seen]:
        """What is known of files that are as they were, by path."""
        found: dict[str, Seen] = {}
        paths = list(files)
        for start in range(0, len(paths), _AT_ONCE):
            part = {os.fsencode(path): path for path in paths[start : start + _AT_ONCE]}
            for key, size, changed, inode, status, digest, facts in self._rows(list(part)):
                path = part[key]
                if files[path] == (size, changed, inode, status):
                    found[path] = _seen(digest, size, facts)
        return found

    def _rows(self, keys: list[bytes]) -> list[tuple[bytes, int, int, int, int, str, str]]:
        marks = ",".join("?" * len(keys))
        query = (
            "SELECT path, size, changed, inode, status, digest, facts FROM seen "
            f"WHERE version = ? AND path IN ({marks})"
        )
        try:
            return self._database.execute(query, [self._version, *keys]).fetchall()
        except sqlite3.Error:
            # A cache that is locked or broken is as good as an empty one.
            return []

    def keep(self, seen: Iterable[tuple[str, Identity, Seen]]) -> None:
        """Remember what was seen of files; not what may be otherwise the next time."""
        rows = [
            (os.fsencode(path), self._version, *known, *_columns(one))
            for path, known, one in seen
            if not isinstance(one, BadClip) or one.lasting
        ]
        # What can't be written now is only opened again the next time.
        with contextlib.suppress(sqlite3.Error), self._database:
            self._database.executemany("REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _columns(seen: Seen) -> tuple[str, str]:
    """Digest and facts of a clip; facts that aren't an object say what else it is."""
    match seen:
        case BadClip():
            return "", json.dumps([seen.rule.id, seen.reason])
        case ImageFile():
            return seen.digest, "null"
        case _:
            return seen.digest, json.dumps(asdict(seen.facts))


def _seen(digest: str, size: int, text: str) -> Seen:
    facts = _read_facts(text)
    if facts is None:
        return ImageFile(digest, size)
    return facts if isinstance(facts, BadClip) else Probed(digest, size, facts)


# Clips of a dataset hold much the same.
@lru_cache(maxsize=4096)
def _read_facts(text: str) -> Facts | BadClip | None:
    data = json.loads(text)
    if data is None:
        return None
    return BadClip(declared()[data[0]], data[1]) if isinstance(data, list) else Facts(**data)


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
        database.execute(_FORMER)
        database.execute("SELECT version, status, digest, facts FROM seen LIMIT 1")
    except BaseException:
        database.close()
        raise
    return database
