"""Where the encodings are in the cache, and which bundle needs which.

An entry's name doesn't say whose it is, so every run first puts down the entries that it needs.
"""

from collections.abc import Iterable
from pathlib import Path

from cvbundle.digest import json_file
from cvbundle.durable import write_bytes

USES = "uses"
"""The folder of the cache that says which bundle needs which entries."""

_ENTRIES = "encodings"


def entries_folder(cache: Path) -> Path:
    """Where the entries are in the cache folder."""
    return cache / _ENTRIES


def note_use(cache: Path, bundle: Path, keys: Iterable[str]) -> None:
    """Put down which entries a bundle needs, before they are made: they are not to be pruned."""
    (cache / USES).mkdir(parents=True, exist_ok=True)
    record = {"bundle": str(bundle.resolve()), "keys": sorted(set(keys))}
    write_bytes(cache / USES / f"{bundle.name}.json", json_file(record))
