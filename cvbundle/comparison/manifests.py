"""Compare two manifests as streams, for a million samples each, of which a thousand differ.

Equal lines at the same position are not parsed. For the others, a digest and an offset are kept
until the same line appears on the other side; the rest is paired by clip at the end.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field, frozen

from cvbundle.files.json_objects import DamagedFile, parse_object, unreadable

_ADVICE = "`cvbundle verify` shows whether the bundle is damaged"

NAMED_AT_MOST = 1000
"""Samples of each kind to list; all are counted."""

_KINDS = {"digest": "bytes", "size": "bytes", "chosen": "frames"}
"""The displayed names of a sample's fields, where they differ from the field's name."""
_OF_THE_FILE = frozenset(
    "codec duration fps height mirrored rotation variable width".split()  # noqa: SIM905
)
"""Properties of the file, which change with its bytes."""


@frozen
class SampleChange:
    """A clip that is in both manifests with different fields."""

    clip: str
    fields: Mapping[str, tuple[Any, Any]]
    """Before and after, of the manifest's fields that differ."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of difference: bytes, caption, frames, crop, …"""
        names = set(self.fields)
        if "digest" in names:
            names -= _OF_THE_FILE
        return tuple(sorted({_KINDS.get(name, name) for name in names}))


@define
class DataDifference:
    """How one manifest differs from another."""

    samples_before: int = 0
    samples_after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    kinds: Counter[str] = field(factory=Counter)
    """Changed samples by kind of difference; one sample can have several."""
    reordered: bool = False
    """Whether samples that both manifests contain are in another order."""
    added_clips: list[str] = field(factory=list)
    removed_clips: list[str] = field(factory=list)
    changes: list[SampleChange] = field(factory=list)
    """The first of each; see `NAMED_AT_MOST`."""

    @property
    def same(self) -> bool:
        """Whether both manifests are equal."""
        return not (self.added or self.removed or self.changed or self.reordered)


def compare_manifests(before: Path, after: Path) -> DataDifference:
    """How the manifest `after` differs from the one `before`.

    Raises:
        DamagedFile: one is missing, or a line that differs isn't a sample.
    """
    difference = DataDifference()
    try:
        with before.open("rb") as old, after.open("rb") as new:
            removed, added = _unmatched(old, new, difference)
            _pair(old, new, removed, added, difference)
    except OSError as error:
        raise unreadable(Path(error.filename or before), error, _ADVICE) from None
    return difference


@define
class _Waiting:
    """Lines of one side not yet found on the other: offset by digest."""

    offsets: dict[bytes, int] = field(init=False, factory=dict)
    repeated: dict[bytes, list[int]] = field(init=False, factory=dict)
    """Offsets of further equal lines, which are rare."""

    def add(self, digest: bytes, offset: int) -> None:
        if self.offsets.setdefault(digest, offset) != offset:
            self.repeated.setdefault(digest, []).append(offset)

    def take(self, digest: bytes) -> int | None:
        offset = self.offsets.pop(digest, None)
        if self.repeated and (more := self.repeated.get(digest)):
            self.offsets[digest] = more.pop(0)
        return offset

    def left(self) -> list[int]:
        return sorted(
            [*self.offsets.values(), *(o for more in self.repeated.values() for o in more)]
        )


def _unmatched(
    old: BinaryIO, new: BinaryIO, difference: DataDifference
) -> tuple[list[int], list[int]]:
    """Offsets of the lines on one side only; also counts samples and detects reordering."""
    waiting_old, waiting_new = _Waiting(), _Waiting()
    at_old = at_new = 0
    last = (-1, -1)
    for line_old, line_new in zip_longest(old, new):
        if line_old == line_new:
            pairs = [(at_old, at_new)]
        else:
            pairs = []
            if line_old is not None:
                digest = _digest(line_old)
                if (other := waiting_new.take(digest)) is None:
                    waiting_old.add(digest, at_old)
                else:
                    pairs.append((at_old, other))
            if line_new is not None:
                digest = _digest(line_new)
                if (other := waiting_old.take(digest)) is None:
                    waiting_new.add(digest, at_new)
                else:
                    pairs.append((other, at_new))
        for pair in pairs:
            # Pairs of unmoved lines appear in order, whatever was added or removed between them.
            if pair[0] < last[0] or pair[1] < last[1]:
                difference.reordered = True
            last = pair
        if line_old is not None:
            difference.samples_before += 1
            at_old += len(line_old)
        if line_new is not None:
            difference.samples_after += 1
            at_new += len(line_new)
    return waiting_old.left(), waiting_new.left()


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def _pair(
    old: BinaryIO,
    new: BinaryIO,
    removed: list[int],
    added: list[int],
    difference: DataDifference,
) -> None:
    """Pair the remaining lines by clip into changed, added and removed samples."""
    by_clip: dict[str, list[int]] = {}
    for offset, row in _rows(old, removed):
        by_clip.setdefault(row["clip"], []).append(offset)
    for _, row in _rows(new, added):
        clip = row["clip"]
        offsets = by_clip.get(clip)
        if not offsets:
            difference.added += 1
            _name(difference.added_clips, clip)
            continue
        ((_, before),) = _rows(old, [offsets.pop(0)])
        change = SampleChange(
            clip,
            {
                name: (before.get(name), row.get(name))
                for name in sorted({*before, *row})
                if before.get(name) != row.get(name)
            },
        )
        difference.changed += 1
        difference.kinds.update(change.kinds)
        _name(difference.changes, change)
    for clip, offsets in by_clip.items():
        difference.removed += len(offsets)
        for _ in offsets:
            _name(difference.removed_clips, clip)


def _rows(file: BinaryIO, offsets: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    for offset in offsets:
        file.seek(offset)
        place = f"{file.name}, byte {offset}"
        row = parse_object(file.readline(), place, _ADVICE)
        if not isinstance(row.get("clip"), str):
            raise DamagedFile(f"{place}: clip is missing: {_ADVICE}")
        yield offset, row


def _name(names: list[Any], one: object) -> None:
    if len(names) < NAMED_AT_MOST:
        names.append(one)
