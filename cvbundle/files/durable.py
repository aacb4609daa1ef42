"""Write files and folders atomically and durably: complete or not at all, even on power loss."""

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from cvbundle.files import locks

_LOCK = ".lock"
"""The lock in a folder that is being filled, held by the process that fills it."""
UNFINISHED = ".tmp"
"""How the name of what is still being written ends; it begins with a dot."""
_SYNCED_TOGETHER = 16


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors that name no file name this one: a full disk doesn't say which it is (write(2))."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def new_file(path: Path, *, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file to fill under a temporary name; moved into place if the block ends without an error.

    `mode` is the file's permissions; by default, those of any new file.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
    except OSError as error:
        # Report the name that the user knows.
        error.filename = str(path)
        raise
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, _named(path):
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask() if mode is None else mode)
        temporary.replace(path)
    finally:
        # It is there only if the block has failed, or was interrupted.
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def new_large_file(path: Path) -> Iterator[BinaryIO]:
    """The same for a large file, which is filled in a temporary folder.

    Leftovers of killed processes are removed first, as with `temporary_folder`.
    """
    with temporary_folder(path.parent, path.name) as folder:
        with new_file(folder / path.name) as file:
            yield file
        (folder / path.name).replace(path)
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file under a temporary name beside it, then move it into place."""
    with new_file(path, mode=mode) as file:
        file.write(content)


@contextlib.contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A temporary sibling of `final` to fill; renamed if the block ends without an error.

    If `final` exists by then, it is kept and the new folder is removed.
    """
    with temporary_folder(final.parent, final.name) as temporary, _named(final):
        yield temporary
        settle(temporary, final)


@contextlib.contextmanager
def temporary_folder(parent: Path, label: str) -> Iterator[Path]:
    """A folder below `parent` that is removed when the block ends, unless it was settled.

    Folders of the same label whose processes were killed are removed first. These are recognized
    by a lock that a process holds while it lives, not by its id: on a shared file system it may run
    on another machine.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent, label)
    temporary, lock = _held_folder(parent, label)
    try:
        inside = temporary / label
        inside.mkdir()
        with _named(parent):
            yield inside
    finally:
        remove_tree(temporary)
        if lock is not None:
            lock.release()


def _held_folder(parent: Path, label: str) -> tuple[Path, locks.Lock | None]:
    """A new folder and the lock in it; None if the file system has no locks."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{label}.", suffix=UNFINISHED, dir=parent))
        except OSError as error:
            error.filename = str(parent)
            raise
        try:
            lock = locks.take(folder / _LOCK)
        except OSError:
            if folder.is_dir():
                return folder, None
            continue
        # Another process may have removed the folder as abandoned before it was locked.
        if lock is not None and (folder / _LOCK).exists():
            return folder, lock
        if lock is not None:
            lock.release()


def remove_abandoned(parent: Path, label: str) -> None:
    """Remove the folders of a label that no process holds; those that can't be locked stay."""
    for folder in parent.glob(f".{glob.escape(label)}.*{UNFINISHED}"):
        # Another process may remove it at the same time, or own it.
        with contextlib.suppress(OSError):
            lock = locks.take(folder / _LOCK, create=False)
            if lock is not None:
                remove_tree(folder)
                lock.release()


def settle(temporary: Path, final: Path) -> bool:
    """Rename a finished folder; returns False if another process was first."""
    sync_tree(temporary)
    temporary.chmod(0o777 & ~_umask())
    try:
        temporary.rename(final)
    except OSError:
        if not final.is_dir():
            raise
        return False
    sync_folder(final.parent)
    return True


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    # In parallel: a disk handles several requests in little more than the time of one.
    with ThreadPoolExecutor(_SYNCED_TOGETHER) as threads:
        for _ in threads.map(_sync, (*paths, folder)):
            pass


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder and its contents, even read-only folders; do nothing if it doesn't exist."""
    if not folder.is_dir():
        return
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
