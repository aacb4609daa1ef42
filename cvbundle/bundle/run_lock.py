"""The lock on a run's folder: one process trains in it, and others can keep it from changing.

It goes with its process, however that ends.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cvbundle.bundle.layout import RUN_LOCK
from cvbundle.files import locks
from cvbundle.files.durable import UNFINISHED
from cvbundle.problems import UserError

_ATTEMPTS, _INTERVAL_S = 5, 0.05


class RunLock:
    """Keeps other processes from training in a run's folder, and removes what a killed one left.

    Raises:
        UserError: another process trains in it, or its file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        try:
            lock = locks.take(folder / RUN_LOCK)
            for _ in range(_ATTEMPTS):
                if lock is not None:
                    break
                # `is_locked` of another process may hold it for a moment.
                time.sleep(_INTERVAL_S)
                lock = locks.take(folder / RUN_LOCK)
        except OSError as error:
            raise UserError(f"{folder} can't be locked ({error.strerror})") from None
        if lock is None:
            raise UserError(
                f"{folder} is being trained or archived by another process: "
                "wait for it, or use --fresh"
            )
        self._lock = lock
        # Whoever wrote them was killed: only the holder of the lock writes here.
        for unfinished in folder.glob(f".*{UNFINISHED}"):
            if unfinished.is_file():
                unfinished.unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process trains in a run's folder, also one on another machine on a shared disk."""
    try:
        lock = locks.take(folder / RUN_LOCK, create=False, shared=True)
    except OSError:
        return False
    if lock is None:
        return True
    lock.release()
    return False


@contextlib.contextmanager
def unchanging(folders: Iterable[Path]) -> Iterator[None]:
    """Keep runs from being trained while the block lasts; other processes may do the same.

    Raises:
        UserError: one of them is being trained.
    """
    with contextlib.ExitStack() as held:
        for folder in folders:
            try:
                lock = locks.take(folder / RUN_LOCK, shared=True)
            except OSError:
                # Where no lock can be made, nothing can be trained.
                continue
            if lock is None:
                raise UserError(f"run {folder.name} is being trained: wait for it, or stop it")
            held.callback(lock.release)
        yield
