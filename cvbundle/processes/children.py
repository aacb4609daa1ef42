"""Child processes that must not outlive this one."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; for use as `preexec_fn`.

    An orphan would run at the same time as the process that repeats its work.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
