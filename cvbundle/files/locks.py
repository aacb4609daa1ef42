"""File locks that are released when their process ends, also on shared file systems.

They use flock(2) on files opened for writing, the only kind that NFS makes visible to other
machines (nfs(5); flock(2), "NFS details").
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from attrs import frozen


@frozen
class Lock:
    """A lock that this process holds."""

    _descriptor: int

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def take(
    path: Path, *, create: bool = True, shared: bool = False, wait: bool = False
) -> Lock | None:
    """Lock a file; None if another process holds the lock.

    Args:
        path: the file to lock.
        create: create the file if it doesn't exist.
        shared: take a shared lock.
        wait: block until the lock is acquired.

    Raises:
        OSError: the file can't be opened, or its file system has no locks.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if not shared or error.errno not in (errno.EACCES, errno.EROFS):
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.ExitStack() as failed:
        failed.callback(os.close, descriptor)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        failed.pop_all()
    return Lock(descriptor)
