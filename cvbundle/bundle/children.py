"""Processes that this one starts, and that are not to outlive it."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


def die_with_parent() -> None:
    """Called in a new process (`preexec_fn`): it is killed when the one that started it dies.

    One that went on alone would meet the one that does its work again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
