"""Open every clip of a dataset: each becomes a sample, is skipped on purpose, or is a problem."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import current_process
from pathlib import Path

from attrs import define, field, frozen

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.entries import Entry
from cvbundle.dataset.identity import Identity, identity_of
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.opening import File, Seen, Work, open_files
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed
from cvbundle.dataset.processes import processes
from cvbundle.dataset.progress import Progress, Silence
from cvbundle.dataset.rules import CLIP_UNREADABLE
from cvbundle.dataset.sampling import Row, Sampler
from cvbundle.dataset.scan_cache import ScanCache
from cvbundle.problems import UserError
from cvbundle.spec.schema import Data

__all__ = ["Row", "scan"]

_GROUP = 256
"""Entries that are looked up together."""
_TASK = 8
"""Files that a worker opens before it reports."""
_AHEAD = 4
"""Groups that are being opened while the first of them is waited for."""
_MANY = 512
"""Clips from which on processes are worth their start: a third of a second."""


def scan(
    entries: Sequence[Entry],
    data: Data,
    root: Path,
    *,
    executor: Executor | None = None,
    cache: ScanCache | None = None,
    rehash: bool = False,
    depth: Depth = Depth.NEEDED,
    progress: Progress | None = None,
    note: Callable[[str, Identity], None] | None = None,
) -> Iterator[Row]:
    """Open the clips, several at a time; the rows come in the order of `entries`.

    Whatever does the work, the rows are the same. What was seen so far is kept in the `cache` when
    the scan is given up.

    Args:
        entries: the dataset's entries, in its order.
        data: what is to be made of them.
        root: the folder that their paths are below.
        executor: where clips are opened, on this machine or others that have the same folder; None
            means here, on all cores: in threads, or for many clips in `processes`.
        cache: what was seen before; None opens every clip.
        rehash: open every clip all the same; the cache learns what is seen.
        depth: how much of a clip is decoded to judge it.
        progress: hears how far it is.
        note: hears of every file and what it was when it was opened or known.

    Raises:
        UserError: a process that opened clips died.
    """
    progress = progress or Silence()
    with ExitStack() as stack:
        opener = _Opener(os.path.realpath(root), cache, rehash, depth, progress, note)
        # Left in the opposite order: the threads end before what they did is kept.
        stack.callback(opener.keep_finished)
        opener.executor = executor or stack.enter_context(_on_all_cores(len(entries)))
        stack.callback(opener.cancel)
        has_images = bool(entries) and entries[0].image is not None
        progress.begin(len(entries) * (2 if has_images else 1))
        stack.callback(progress.end)
        sampler = Sampler(entries, data)
        try:
            for group in opener.groups(entries):
                for index, entry in enumerate(group.entries, group.start):
                    yield from sampler.rows(index, entry, *group.seen_of(entry))
        except BrokenExecutor:
            raise UserError(
                "a process that opened clips was killed, by want of memory most likely: run again "
                "with fewer of them; clips that are done are not opened again"
            ) from None


@contextmanager
def _on_all_cores(clips: int) -> Iterator[Executor]:
    cores = len(os.sched_getaffinity(0))
    # A process that multiprocessing started as a daemon may start none itself.
    if clips >= _MANY and cores > 1 and not current_process().daemon:
        with processes(cores) as pool:
            yield pool
        return
    threads = ThreadPoolExecutor(cores, "open-clips")
    try:
        yield threads
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


@frozen
class _Task:
    work: Work
    future: "Future[list[Seen]]"


@define
class _Group:
    """Some entries in a row, and what is seen of their files."""

    root: str
    start: int
    entries: Sequence[Entry]
    seen: dict[str, Seen] = field(factory=dict)
    """By path."""
    tasks: list[_Task] = field(factory=list)

    def files(self) -> dict[str, bool]:
        """The paths of all files, each with whether it is an image."""
        files = {f"{self.root}/{entry.clip}": False for entry in self.entries}
        if self.entries[0].image is not None:
            files |= {f"{self.root}/{entry.image}": True for entry in self.entries}
        return files

    def seen_of(self, entry: Entry) -> tuple[Probed | BadClip, ImageFile | BadClip | None]:
        clip = self.seen[f"{self.root}/{entry.clip}"]
        image = None if entry.image is None else self.seen[f"{self.root}/{entry.image}"]
        assert not isinstance(clip, ImageFile)
        assert not isinstance(image, Probed)
        return clip, image


@define
class _Opener:
    """Opens the files of entries, a few groups ahead of the one that is waited for."""

    root: str
    cache: ScanCache | None
    rehash: bool
    depth: Depth
    progress: Progress
    note: Callable[[str, Identity], None] | None
    executor: Executor = field(init=False)
    _pending: deque[_Group] = field(init=False, factory=deque)

    def groups(self, entries: Sequence[Entry]) -> Iterator[_Group]:
        """The entries in groups, each with all of its files opened."""
        for start in range(0, len(entries), _GROUP):
            group = _Group(self.root, start, entries[start : start + _GROUP])
            self._pending.append(group)
            self._begin(group)
            if len(self._pending) > _AHEAD:
                yield self._finished()
        while self._pending:
            yield self._finished()

    def _begin(self, group: _Group) -> None:
        """Look a group's files up, and have opened those that aren't known."""
        files = group.files()
        known: dict[str, Identity] = {}
        for path in files:
            try:
                known[path] = identity_of(os.stat(path))  # noqa: PTH116 (a Path takes longer)
            except OSError as error:
                reason = f"can't be read ({error.strerror})"
                group.seen[path] = BadClip(CLIP_UNREADABLE, reason, lasting=False)
        if self.note is not None:
            for path, identity in known.items():
                self.note(path, identity)
        if self.cache is not None and not self.rehash:
            found = self.cache.lookup(known)
            group.seen |= found
            self.progress.advance(len(found), sum(known[path][0] for path in found))
        unknown = [path for path in known if path not in group.seen]
        for start in range(0, len(unknown), _TASK):
            paths = unknown[start : start + _TASK]
            work = Work(
                tuple(File(path, files[path]) for path in paths),
                tuple(known[path] for path in paths),
                self.depth,
                PROBE_VERSION,
            )
            group.tasks.append(_Task(work, self.executor.submit(open_files, work)))

    def _finished(self) -> _Group:
        group = self._pending[0]
        for task in group.tasks:
            results = task.future.result()
            group.seen.update(
                (file.path, seen) for file, seen in zip(task.work.files, results, strict=True)
            )
            self.progress.advance(len(task.work.files), sum(known[0] for known in task.work.known))
        self._keep(group)
        return self._pending.popleft()

    def cancel(self) -> None:
        """Begin nothing more."""
        for group in self._pending:
            for task in group.tasks:
                task.future.cancel()

    def keep_finished(self) -> None:
        """Remember what is done of groups that nobody waits for any more."""
        for group in self._pending:
            self._keep(group)

    def _keep(self, group: _Group) -> None:
        if self.cache is None:
            return
        for task in group.tasks:
            future = task.future
            if future.done() and not future.cancelled() and future.exception() is None:
                paths = (file.path for file in task.work.files)
                self.cache.keep(zip(paths, task.work.known, future.result(), strict=True))
