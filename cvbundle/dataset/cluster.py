"""Open clips on the machines of a Dask cluster."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from cvbundle.problems import UserError


@contextlib.contextmanager
def cluster(address: str, *, patience_s: float = 30.0) -> Iterator[Executor]:
    """The workers of the Dask scheduler at `address`, such as `tcp://scheduler:8786`, to scan on.

    They need this version of the package, and the dataset under the same path. What a worker that
    dies was doing is done by another.

    Raises:
        UserError: the `dask` extra isn't installed, the scheduler can't be reached in `patience_s`
            seconds, or workers die over and over.
    """
    try:
        from distributed import Client
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise UserError(
            f"{address}: a Dask cluster needs dask.distributed: pip install 'cvbundle[dask]'"
        ) from None
    try:
        client = Client(address, timeout=patience_s, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        raise UserError(f"{address}: no Dask scheduler can be reached there ({reason})") from None
    waiting = _Waiting(client)
    try:
        yield waiting
    except (KilledWorker, FutureCancelledError) as error:
        raise UserError(f"{address}: workers died while they opened clips ({error})") from None
    finally:
        waiting.shutdown(wait=True, cancel_futures=True)
        client.close()  # type: ignore[no-untyped-call]


class _Waiting(ThreadPoolExecutor):
    """A thread for each task that waits for a worker's answer.

    Dask's own executor takes an answer for an error if the worker that gave it dies at that moment
    (distributed 2026.8.0, cfexecutor.py, `_cascade_future`); `Future.result` asks again.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(_TASKS, "wait-for-cluster")
        self._client = client

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return super().submit(self._answer, call, args, kwargs)

    def _answer(self, call: Any, args: Any, kwargs: Any) -> Any:
        return self._client.submit(call, *args, pure=False, **kwargs).result()


_TASKS = 256
"""Tasks on the cluster at a time; a scan is never further ahead than that."""
