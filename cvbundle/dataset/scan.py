"""Probe every clip of a dataset: each is a sample, skipped, or a problem."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from attrs import define, field, frozen

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.entries import Entry
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed
from cvbundle.dataset.probing import File, ProbeResult, ProbeTask, probe_files
from cvbundle.dataset.progress import NoProgress, Progress
from cvbundle.dataset.sampling import Row, Sampler
from cvbundle.dataset.scan_cache import ScanCache
from cvbundle.dataset.workers import workers
from cvbundle.files.identity import Identity, identity_of
from cvbundle.spec.schema import Data

__all__ = ["Prober", "Row", "scan"]

_GROUP = 256
"""Entries per cache lookup."""
_TASK = 8
"""Files per task."""
_AHEAD = 4
"""Groups submitted ahead of the one being waited for."""


class Prober(Protocol):
    """Where files are probed: an executor, in this process or on other machines, or `workers`."""

    def submit(
        self, call: Callable[[ProbeTask], list[ProbeResult]], task: ProbeTask, /
    ) -> "Future[list[ProbeResult]]":
        """Have a task's files probed."""
        ...


def scan(
    entries: Sequence[Entry],
    data: Data,
    root: Path,
    *,
    prober: Prober | None = None,
    cache: ScanCache | None = None,
    rehash: bool = False,
    depth: Depth = Depth.NEEDED,
    progress: Progress | None = None,
    on_file: Callable[[str, Identity], None] | None = None,
) -> Iterator[Row]:
    """Probe the clips, several at a time; rows are yielded in the order of `entries`.

    The rows don't depend on the prober. If the scan is interrupted, the `cache` keeps the results
    so far.

    Args:
        entries: the dataset's entries, in order.
        data: the `data` section of the spec.
        root: the folder that the entries' paths are relative to.
        prober: where files are probed; None means in `workers`, one for each core.
        cache: the results of earlier scans; None probes every clip.
        rehash: probe every clip and update the cache.
        depth: how much of a clip is decoded.
        progress: receives progress.
        on_file: called with every file's path and its identity when it was probed or looked up.

    Raises:
        UserError: no worker can be started.
    """
    progress = progress or NoProgress()
    with ExitStack() as stack:
        probing = _Probing(os.path.realpath(root), cache, rehash, depth, progress, on_file)
        # Exits run in reverse: the workers end before their results are kept.
        stack.callback(probing.keep_finished)
        probing.prober = prober or stack.enter_context(workers(len(os.sched_getaffinity(0))))
        stack.callback(probing.cancel)
        has_images = bool(entries) and entries[0].image is not None
        progress.begin(len(entries) * (2 if has_images else 1))
        stack.callback(progress.end)
        sampler = Sampler(entries, data)
        for group in probing.groups(entries):
            for index, entry in enumerate(group.entries, group.start):
                yield from sampler.rows(index, entry, *group.results_of(entry))


@frozen
class _Submitted:
    task: ProbeTask
    future: "Future[list[ProbeResult]]"


@define
class _Group:
    """Consecutive entries and the probe results of their files."""

    root: str
    start: int
    entries: Sequence[Entry]
    results: dict[str, ProbeResult] = field(factory=dict)
    """By path."""
    submitted: list[_Submitted] = field(factory=list)
    began: int = field(factory=time.time_ns)
    """When it was created, before any of its files was read."""

    def files(self) -> dict[str, bool]:
        """Whether each file is an image, by path."""
        files = {f"{self.root}/{entry.clip}": False for entry in self.entries}
        if self.entries[0].image is not None:
            files |= {f"{self.root}/{entry.image}": True for entry in self.entries}
        return files

    def results_of(self, entry: Entry) -> tuple[Probed | BadClip, ImageFile | BadClip | None]:
        clip = self.results[f"{self.root}/{entry.clip}"]
        image = None if entry.image is None else self.results[f"{self.root}/{entry.image}"]
        assert not isinstance(clip, ImageFile)
        assert not isinstance(image, Probed)
        return clip, image


@define
class _Probing:
    """Probes the files of entries, a few groups ahead of the one being waited for."""

    root: str
    cache: ScanCache | None
    rehash: bool
    depth: Depth
    progress: Progress
    on_file: Callable[[str, Identity], None] | None
    prober: Prober = field(init=False)
    _pending: deque[_Group] = field(init=False, factory=deque)

    def groups(self, entries: Sequence[Entry]) -> Iterator[_Group]:
        """The entries in groups, each with the results of all its files."""
        for start in range(0, len(entries), _GROUP):
            group = _Group(self.root, start, entries[start : start + _GROUP])
            self._pending.append(group)
            self._submit(group)
            if len(self._pending) > _AHEAD:
                yield self._finished()
        while self._pending:
            yield self._finished()

    def _submit(self, group: _Group) -> None:
        """Look up a group's files in the cache, and submit tasks for the others."""
        files = group.files()
        identities: dict[str, Identity] = {}
        for path in files:
            try:
                identities[path] = identity_of(os.stat(path))  # noqa: PTH116 (a Path takes longer)
            except OSError as error:
                reason = f"can't be read ({error.strerror})"
                group.results[path] = BadClip("clip-unreadable", reason, lasting=False)
        if self.on_file is not None:
            for path, identity in identities.items():
                self.on_file(path, identity)
        if self.cache is not None and not self.rehash:
            cached = self.cache.lookup(identities)
            group.results |= cached
            self.progress.advance(len(cached), sum(identities[path][0] for path in cached))
        remaining = [path for path in identities if path not in group.results]
        for start in range(0, len(remaining), _TASK):
            paths = remaining[start : start + _TASK]
            task = ProbeTask(
                tuple(File(path, files[path]) for path in paths),
                tuple(identities[path] for path in paths),
                self.depth,
                PROBE_VERSION,
            )
            group.submitted.append(_Submitted(task, self.prober.submit(probe_files, task)))

    def _finished(self) -> _Group:
        group = self._pending[0]
        for submitted in group.submitted:
            task, results = submitted.task, submitted.future.result()
            group.results.update(
                (file.path, result) for file, result in zip(task.files, results, strict=True)
            )
            size = sum(identity[0] for identity in task.identities)
            self.progress.advance(len(task.files), size)
        self._keep(group)
        return self._pending.popleft()

    def cancel(self) -> None:
        """Cancel the tasks that haven't started."""
        for group in self._pending:
            for submitted in group.submitted:
                submitted.future.cancel()

    def keep_finished(self) -> None:
        """Cache the finished results of groups that were never waited for."""
        for group in self._pending:
            self._keep(group)

    def _keep(self, group: _Group) -> None:
        if self.cache is None:
            return
        for submitted in group.submitted:
            task, future = submitted.task, submitted.future
            if future.done() and not future.cancelled() and future.exception() is None:
                paths = (file.path for file in task.files)
                results = zip(paths, task.identities, future.result(), strict=True)
                self.cache.keep(results, began=group.began)
