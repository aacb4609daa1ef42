"""Whether a file is still the one that was looked at."""

import os

Identity = tuple[int, int, int, int]
"""Bytes, nanosecond of the content's change, inode, nanosecond of the status' change.

The last one tells what the others don't: that a file may no longer be read, or that its content was
changed and its time put back.
"""


def identity_of(status: os.stat_result) -> Identity:
    """The identity of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns


def same_content(one: Identity, other: Identity) -> bool:
    """Whether a file was not written to; a new name or other permissions change no content."""
    return one[:3] == other[:3]
