"""Work that threads do before it is asked for."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def made_ahead(
    items: Iterable[T],
    work: Callable[[T], R],
    *,
    threads: int,
    ahead: int,
    prepare: Callable[[], None] | None = None,
) -> Generator[tuple[T, R]]:
    """Each item with its result, in order; `threads` work on up to `ahead` items to come.

    `prepare` is called once in each thread. What it or `work` raises is raised where its item's
    turn is (an initializer of the pool would raise a BrokenThreadPool that says nothing).
    Closing the iterator waits for the items in work and drops those that are not begun.
    """
    pool = ThreadPoolExecutor(threads)
    own = threading.local()

    def worked(item: T) -> R:
        if prepare is not None and not hasattr(own, "prepared"):
            prepare()
            own.prepared = True
        return work(item)

    source = iter(items)
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in islice(source, ahead):
            waiting.append((item, pool.submit(worked, item)))
        while waiting:
            item, future = waiting.popleft()
            result = future.result()
            for following in islice(source, 1):
                waiting.append((following, pool.submit(worked, following)))
            yield item, result
    finally:
        pool.shutdown(cancel_futures=True)
