"""Open clips in processes of their own, where threads would wait for each other."""

import contextlib
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

from cvbundle.interpreters import safe_children


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """So many processes to scan on; they are started when the first clip is to be opened.

    Threads share Python's lock, which is held for a third of the time that a small clip takes. A
    program that calls this must guard its main module (`if __name__ == "__main__":`), as for all of
    `multiprocessing`.
    """
    context = get_context("forkserver")
    # Imported once, in the process that the others are forked from.
    context.set_forkserver_preload(["cvbundle.dataset.opening"])
    with safe_children():
        pool = ProcessPoolExecutor(count, context, initializer=_let_parent_stop)
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _let_parent_stop() -> None:
    # Ctrl-C goes to every process of a terminal; the scan ends these in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
