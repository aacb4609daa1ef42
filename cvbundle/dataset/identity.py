"""Whether a file is still the one that was looked at."""

import os

Identity = tuple[int, int, int]
"""What differs when a file's content does: bytes, nanosecond of change, inode."""


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino
