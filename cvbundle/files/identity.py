"""Whether a file is still the one that was read."""

import os
from array import array
from typing import NamedTuple

SETTLED_NS = 2_000_000_000
"""Nanoseconds without a change after which a file's times tell of every later change.

A file written more recently could be written again at the same time, by the clock of a file system
whose resolution is as coarse as this (FAT).
"""


class Identity(NamedTuple):
    """What of a file's status changes with its content.

    Only the ctime reveals that permissions changed, or that content changed and its mtime was
    reset. A failing disk changes none of them: only reading the file does reveal that.
    """

    size: int
    """Bytes."""
    changed: int
    """Its mtime in nanoseconds."""
    inode: int
    status: int
    """Its ctime in nanoseconds."""

    def is_settled(self, now: int) -> bool:
        """Whether a change after `now`, in nanoseconds since the epoch, will show in the times."""
        return max(self.changed, self.status) + SETTLED_NS <= now

    def has_content_of(self, other: "Identity") -> bool:
        """Whether the content is unchanged: renaming or chmod changes only the ctime."""
        return self[:3] == other[:3]


def identity_of(status: os.stat_result) -> Identity:
    """The identity of the file with this status."""
    return Identity(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)


class FileList:
    """Paths and identities of many files, a million in 50 MiB."""

    def __init__(self, paths: bytes = b"", identities: bytes = b"") -> None:
        self._paths = bytearray(paths)
        self._identities = array("Q", identities)
        self._latest = 0

    def add(self, path: str, identity: Identity) -> None:
        """Add a file."""
        self._paths += os.fsencode(path) + b"\0"
        self._identities.extend(identity)
        self._latest = max(self._latest, identity.changed, identity.status)

    def packed(self) -> tuple[bytes, bytes]:
        """The arguments that make an equal list."""
        return bytes(self._paths), self._identities.tobytes()

    def are_settled(self, now: int) -> bool:
        """Whether `Identity.is_settled` holds for all files that were added."""
        return self._latest + SETTLED_NS <= now

    def are_unchanged(self) -> bool:
        """Whether every file still has its identity.

        Raises:
            OSError: a file can't be found.
            ValueError: the list has not as many paths as identities.
        """
        numbers = iter(self._identities)
        stat = os.stat
        for path, size, changed, inode, status in zip(
            bytes(self._paths).split(b"\0")[:-1], numbers, numbers, numbers, numbers, strict=True
        ):
            now = stat(path)
            # `identity_of`, without a tuple for each of a million files.
            if (
                now.st_size != size
                or now.st_mtime_ns != changed
                or now.st_ino != inode
                or now.st_ctime_ns != status
            ):
                return False
        return True
