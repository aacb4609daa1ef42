"""Locks that go with the process that holds them, however it ends, on shared disks too.

They are flock(2)'s, on files that are open for writing: NFS makes of these what other machines
respect, and of no others (nfs(5), flock(2) "NFS details").
"""

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
        """Let others have it."""
        os.close(self._descriptor)


def take(
    path: Path, *, create: bool = True, shared: bool = False, wait: bool = False
) -> Lock | None:
    """Lock a file; None where another process holds it.

    Args:
        path: the file to lock.
        create: make the file where there is none.
        shared: others may hold it too, as long as they share it as well.
        wait: come back only when it is had.

    Raises:
        OSError: the file can't be opened, or its disk has no locks.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if not shared or error.errno not in (errno.EACCES, errno.EROFS):
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Lock(descriptor)
