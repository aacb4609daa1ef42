"""Detect whether a file changed since it was last read."""

import os

Identity = tuple[int, int, int, int]
"""Size in bytes, mtime in nanoseconds, inode, ctime in nanoseconds.

Only the ctime reveals that permissions changed, or that content changed and its mtime was reset.
"""


def identity_of(status: os.stat_result) -> Identity:
    """The identity of the file with this status."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def same_content(one: Identity, other: Identity) -> bool:
    """Whether the content is unchanged: renaming or chmod changes only the ctime."""
    return one[:3] == other[:3]
