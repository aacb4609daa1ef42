"""Limits on what a file of a dataset may cost, whatever it states about itself.

A GIF of 204 bytes can state frames of 16000x16000 pixels, a GiB each when decoded, and an mp4 of a
kilobyte an index of a billion samples. Real footage is far below these limits.
"""

import time

from attrs import field, frozen

from cvbundle.dataset.bad_clip import BadClip

MAX_PIXELS = 8192 * 4320
"""Pixels of a frame or an image: those of DCI 8K, the largest format of cameras."""

MEMORY_BYTES = 1 << 30
"""What decoding one file may allocate.

The largest level of H.265 allows six reference frames of 8K: 640 MB with 10 bits (ITU-T H.265,
table A.8 and A.4.2).
"""

_SECONDS = 4.0
_SECONDS_PER_MIB = 60.0
"""A minute of CPU time for a MiB: ten times what 4K video at 0.5 Mbit/s takes on one core."""


def cpu_seconds(size: int) -> float:
    """CPU time that a file of `size` bytes may take."""
    return _SECONDS + _SECONDS_PER_MIB * size / (1 << 20)


@frozen
class CpuTime:
    """The CPU time that this thread may spend on a file."""

    limit: float
    """Seconds."""
    _start: float = field(init=False, factory=time.thread_time)

    def check(self) -> None:
        """Raise `BadClip` once the time is spent."""
        if time.thread_time() - self._start > self.limit:
            raise too_slow(self.limit)


def too_slow(seconds: float) -> BadClip:
    """The problem with a file that takes more than its share of time."""
    # Another machine may be faster.
    return BadClip(
        "clip-unreadable",
        f"takes more than {seconds:.0f} s of CPU time to decode: encode it again",
        lasting=False,
    )


def too_large(height: int, width: int) -> BadClip:
    """The problem with a frame of too many pixels."""
    return BadClip(
        "clip-unreadable", f"is of {width}x{height} pixels; at most {MAX_PIXELS:,} are opened"
    )


def too_much_memory() -> BadClip:
    """The problem with a file that takes too much memory."""
    return BadClip(
        "clip-unreadable",
        f"takes more than {MEMORY_BYTES >> 30} GiB of memory to decode: encode it again",
        lasting=False,
    )
