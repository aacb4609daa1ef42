"""The encodings in the cache, and the bundles that use them.

The name of an entry doesn't identify its bundles, so every run first records the entries it needs.
"""

from collections.abc import Iterable
from pathlib import Path

from cvbundle.files.digest import json_file
from cvbundle.files.durable import write_bytes

USES = "uses"
"""The folder of the cache that records which bundle uses which entries."""

_ENTRIES = "encodings"


def entries_folder(cache: Path) -> Path:
    """The folder of the entries."""
    return cache / _ENTRIES


def note_use(cache: Path, bundle: Path, keys: Iterable[str]) -> None:
    """Record the entries that a bundle needs before they are made, so that they aren't pruned."""
    (cache / USES).mkdir(parents=True, exist_ok=True)
    record = {"bundle": str(bundle.resolve()), "keys": sorted(set(keys))}
    write_bytes(cache / USES / f"{bundle.name}.json", json_file(record))
