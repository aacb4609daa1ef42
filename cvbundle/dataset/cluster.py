"""Probe clips on the machines of a Dask cluster."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from cvbundle.problems import UserError


@contextlib.contextmanager
def cluster(address: str, *, timeout_s: float = 30.0) -> Iterator[Executor]:
    """An executor on the workers of the Dask scheduler at `address`: `tcp://scheduler:8786`.

    Workers need this version of the package and the dataset at the same path. The tasks of a worker
    that dies are run by another.

    Raises:
        UserError: the `dask` extra isn't installed, the scheduler can't be reached within
            `timeout_s` seconds, or workers keep dying.
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
        client = Client(address, timeout=timeout_s, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        raise UserError(f"{address}: can't reach a Dask scheduler ({reason})") from None
    executor = _ClusterExecutor(client)
    try:
        yield executor
    except (KilledWorker, FutureCancelledError) as error:
        raise UserError(f"{address}: workers died while opening clips ({error})") from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        client.close()  # type: ignore[no-untyped-call]


class _ClusterExecutor(ThreadPoolExecutor):
    """An executor with one thread per task, which waits for a worker's result.

    Dask's own executor mistakes a result for an error if the worker that returned it dies at that
    moment (distributed 2026.8.0, cfexecutor.py, `_cascade_future`); `Future.result` asks again.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(_TASKS, "wait-for-cluster")
        self._client = client

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return super().submit(self._result, call, args, kwargs)

    def _result(self, call: Any, args: Any, kwargs: Any) -> Any:
        return self._client.submit(call, *args, pure=False, **kwargs).result()


_TASKS = 256
"""Tasks on the cluster at a time; a scan never runs further ahead."""
