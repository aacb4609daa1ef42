"""Open every clip of a dataset: each becomes a sample, is skipped on purpose, or is a problem."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.frames import choose_frames, crop_box
from cvbundle.dataset.layouts import Entry
from cvbundle.dataset.manifest import Sample, Skipped
from cvbundle.dataset.probe import Probed, probe
from cvbundle.problems import Problem, Severity
from cvbundle.spec.schema import Data

Row = Sample | Skipped | Problem

_CHUNK = 256


def scan(
    entries: Sequence[Entry], data: Data, root: Path, *, executor: Executor | None = None
) -> Iterator[Row]:
    """Open the clips, several at a time; the rows come in the order of `entries`."""
    if executor is not None:
        yield from _scan(entries, data, root, executor)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        yield from _scan(entries, data, root, threads)


def _scan(entries: Sequence[Entry], data: Data, root: Path, executor: Executor) -> Iterator[Row]:
    for start in range(0, len(entries), _CHUNK):
        chunk = entries[start : start + _CHUNK]
        paths = [root / entry.clip for entry in chunk]
        for entry, result in zip(chunk, executor.map(_try, paths), strict=True):
            yield row(entry, result, data)


def _try(path: Path) -> Probed | BadClip:
    try:
        return probe(path)
    except BadClip as error:
        return error


def row(entry: Entry, result: Probed | BadClip, data: Data) -> Row:
    """What becomes of an entry whose clip was opened."""
    if isinstance(result, BadClip):
        return _bad(entry, result, skip=data.bad_samples == "skip", field="bad_samples")
    size = data.resolution
    if result.frames < size.frames and data.short_clips != "repeat_last":
        short = BadClip("clip-short", f"has {result.frames} frames, {size.frames} are wanted")
        return _bad(entry, short, skip=data.short_clips == "skip", field="short_clips")
    return Sample(
        clip=entry.clip,
        digest=result.digest,
        size=result.size,
        codec=result.codec,
        frames=result.frames,
        fps=str(result.fps),
        duration=round(float(result.duration), 6),
        height=result.height,
        width=result.width,
        rotation=result.rotation,
        variable=result.variable,
        chosen=choose_frames(result.frames, size.frames, data.frame_sampling),
        crop=crop_box(result.height, result.width, size.height, size.width, data.fit),
        caption=entry.caption,
    )


def _bad(entry: Entry, error: BadClip, *, skip: bool, field: str) -> Skipped | Problem:
    if skip:
        return Skipped(number=entry.number, clip=entry.clip, rule=error.rule, reason=error.reason)
    return Problem(
        error.rule,
        Severity.ERROR,
        entry.place,
        f"{entry.clip} {error.reason}",
        f"mend or remove it, or write data.{field}: skip",
    )
