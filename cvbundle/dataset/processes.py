"""Probe clips in worker processes, where threads would contend for the GIL."""

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

from cvbundle.processes.interpreters import safe_children


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """A pool of `count` processes, started with the first task.

    Probing a small clip holds the GIL for a third of its time. A program that calls this must guard
    its main module (`if __name__ == "__main__":`), as for all of `multiprocessing`.
    """
    context = get_context("forkserver")
    # Imported once, in the fork server.
    context.set_forkserver_preload(["cvbundle.dataset.probing"])
    with safe_children():
        pool = ProcessPoolExecutor(count, context, initializer=_ignore_interrupt)
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    # Ctrl-C goes to every process of a terminal; the parent shuts these down in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
