"""Open every clip of a dataset: each becomes a sample, is skipped on purpose, or is a problem."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field, frozen

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.entries import Entry
from cvbundle.dataset.identity import Identity, identity_of
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.opening import File, Seen, Work, as_text, from_text, open_files
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed
from cvbundle.dataset.progress import Progress, Silence
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
) -> Iterator[Row]:
    """Open the clips, several at a time; the rows come in the order of `entries`.

    Whatever does the work, the rows are the same. What was seen so far is kept in the `cache` when
    the scan is given up.

    Args:
        entries: the dataset's entries, in its order.
        data: what is to be made of them.
        root: the folder that their paths are below.
        executor: where clips are opened, on this machine or others that have the same folder; None
            means threads here, one a core.
        cache: what was seen before; None opens every clip.
        rehash: open every clip all the same; the cache learns what is seen.
        depth: how much of a clip is decoded to judge it.
        progress: hears how far it is.

    Raises:
        UserError: a process that opened clips died.
    """
    progress = progress or Silence()
    with ExitStack() as stack:
        opener = _Opener(os.path.realpath(root), cache, rehash, depth, progress)
        # Left in the opposite order: the threads end before what they did is kept.
        stack.callback(opener.keep_finished)
        opener.executor = executor or stack.enter_context(_Threads())
        stack.callback(opener.cancel)
        stack.callback(progress.end)
        has_images = bool(entries) and entries[0].image is not None
        progress.begin(len(entries) * (2 if has_images else 1))
        sampler = Sampler(entries, data)
        try:
            for group in opener.groups(entries):
                for index, entry in enumerate(group.entries, group.start):
                    seen, image = group.seen_of(entry)
                    yield from sampler.rows(index, entry, seen, image)
        except BrokenExecutor:
            raise UserError(
                "a process that opened clips was killed, by want of memory most likely: run again "
                "with fewer of them; clips that are done are not opened again"
            ) from None


class _Threads(ThreadPoolExecutor):
    """A thread a core: hashing, reading and decoding leave Python's lock to the others."""

    def __init__(self) -> None:
        super().__init__(len(os.sched_getaffinity(0)), "open-clips")

    def __exit__(self, *error: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


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

    def files(self) -> Iterator[File]:
        for entry in self.entries:
            yield File(f"{self.root}/{entry.clip}")
            if entry.image is not None:
                yield File(f"{self.root}/{entry.image}", is_image=True)

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
        known: dict[File, Identity] = {}
        for file in group.files():
            try:
                known[file] = identity_of(os.stat(file.path))  # noqa: PTH116 (speed)
            except OSError as error:
                reason = f"can't be read ({error.strerror})"
                group.seen[file.path] = BadClip("clip-unreadable", reason, lasting=False)
        found: dict[str, str] = {}
        if self.cache is not None and not self.rehash:
            found = self.cache.lookup([(file.path, known[file]) for file in known])
            group.seen.update((path, from_text(text)) for path, text in found.items())
        self.progress.advance(
            len(found), sum(known[file][0] for file in known if file.path in found)
        )
        unknown = [file for file in known if file.path not in found]
        for start in range(0, len(unknown), _TASK):
            files = tuple(unknown[start : start + _TASK])
            identities = tuple(known[file] for file in files)
            work = Work(files, identities, self.depth, PROBE_VERSION)
            group.tasks.append(_Task(work, self.executor.submit(open_files, work)))

    def _finished(self) -> _Group:
        group = self._pending[0]
        for task in group.tasks:
            results = task.future.result()
            group.seen.update(
                (file.path, seen) for file, seen in zip(task.work.files, results, strict=True)
            )
            self.progress.advance(len(task.work.files), sum(size for size, _, _ in task.work.known))
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
        rows = []
        for task in group.tasks:
            future = task.future
            if not future.done() or future.cancelled() or future.exception() is not None:
                continue
            work = task.work
            for file, known, seen in zip(work.files, work.known, future.result(), strict=True):
                text = as_text(seen)
                if text is not None:
                    rows.append((file.path, known, text))
        self.cache.keep(rows)
