"""The cache of encodings as its owner sees it: its size, which bundle uses what, what can go.

An entry's name doesn't say whose it is, so every run first puts down the entries that it needs.
"""

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.digest import json_file
from cvbundle.durable import write_bytes

_ENTRIES = "encodings"
_USES = "uses"
_SUFFIX = ".safetensors"
_ABANDONED_SECONDS = 24 * 60 * 60
"""A temporary file of this age is nobody's any more."""


@frozen
class Use:
    """What one bundle needs of the cache."""

    bundle: Path
    present: bool
    """Whether the bundle is still where it was trained."""
    entries: int
    bytes: int


@frozen
class Contents:
    """What is in the cache; entries that several bundles use count once."""

    folder: Path
    entries: int
    bytes: int
    uses: tuple[Use, ...]
    unused: tuple[Path, ...]
    """Entries that no bundle which is still there has trained on, and abandoned temporary files."""
    unused_bytes: int


def entries_folder(cache: Path) -> Path:
    """Where the entries are in the cache folder."""
    return cache / _ENTRIES


def note_use(cache: Path, bundle: Path, keys: Iterable[str]) -> None:
    """Put down which entries a bundle needs, before they are made: they are not to be pruned."""
    (cache / _USES).mkdir(parents=True, exist_ok=True)
    record = {"bundle": str(bundle.resolve()), "keys": sorted(set(keys))}
    write_bytes(cache / _USES / f"{bundle.name}.json", json_file(record))


def look(cache: Path) -> Contents:
    """Everything in the cache, and who uses it."""
    sizes = {path.stem: path.stat().st_size for path in _entries(cache)}
    uses, used = [], set[str]()
    for record in _records(cache):
        bundle, keys = Path(record["bundle"]), [key for key in record["keys"] if key in sizes]
        present = bundle.is_dir()
        uses.append(Use(bundle, present, len(keys), sum(sizes[key] for key in keys)))
        if present:
            used.update(keys)
    unused = [path for path in _entries(cache) if path.stem not in used]
    unused += _abandoned(cache)
    return Contents(
        folder=cache,
        entries=len(sizes),
        bytes=sum(sizes.values()),
        uses=tuple(uses),
        unused=tuple(unused),
        unused_bytes=sum(path.stat().st_size for path in unused),
    )


def prune(cache: Path) -> Contents:
    """Remove what no bundle uses that is still there; what was in the cache before."""
    contents = look(cache)
    for path in contents.unused:
        path.unlink(missing_ok=True)
    for use in contents.uses:
        if not use.present:
            (cache / _USES / f"{use.bundle.name}.json").unlink(missing_ok=True)
    return contents


def _entries(cache: Path) -> list[Path]:
    return sorted(path for path in entries_folder(cache).glob(f"*/*{_SUFFIX}") if path.is_file())


def _abandoned(cache: Path) -> list[Path]:
    now = time.time()
    found = entries_folder(cache).glob("*/.*.tmp")
    return [path for path in found if now - path.stat().st_mtime > _ABANDONED_SECONDS]


def _records(cache: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((cache / _USES).glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
        except ValueError:
            continue
        yield record
