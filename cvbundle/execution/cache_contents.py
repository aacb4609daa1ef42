"""The contents of the cache: sizes, the bundles that use entries, and what can be removed."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.store import is_bundle
from cvbundle.execution.environments import existing_venvs
from cvbundle.files.durable import remove_tree
from cvbundle.files.encodings import USES, entries_folder
from cvbundle.files.json_objects import DamagedFile, read_object
from cvbundle.problems import UserError

_SUFFIX = ".safetensors"
_ABANDONED_SECONDS = 24 * 60 * 60
"""The age from which a temporary file is abandoned."""


@frozen
class Use:
    """One bundle's use of the cache."""

    bundle: Path
    present: bool
    """Whether the bundle still exists where it was trained."""
    entries: int
    bytes: int


@frozen
class Environment:
    """A virtual environment, shared by the bundles with the same lock."""

    folder: Path
    bytes: int
    used: bool
    """Whether a bundle with its lock still exists where it was trained."""


@frozen
class CacheContents:
    """The contents of the cache; entries used by several bundles count once."""

    folder: Path
    entries: int
    bytes: int
    uses: tuple[Use, ...]
    unused: tuple[Path, ...]
    """Entries that no existing bundle uses, and abandoned temporary files."""
    unused_bytes: int
    environments: tuple[Environment, ...]


def cache_contents(cache: Path) -> CacheContents:
    """List the contents of the cache.

    Raises:
        UserError: an environment in it was changed.
    """
    sizes = {path.stem: path.stat().st_size for path in _entries(cache)}
    uses, used = [], set[str]()
    for bundle, needed in _recorded_uses(cache):
        keys = [key for key in needed if key in sizes]
        present = bundle.is_dir()
        uses.append(Use(bundle, present, len(keys), sum(sizes[key] for key in keys)))
        if present:
            used.update(keys)
    unused = [path for path in _entries(cache) if path.stem not in used]
    unused += _abandoned(cache)
    return CacheContents(
        folder=cache,
        entries=len(sizes),
        bytes=sum(sizes.values()),
        uses=tuple(uses),
        unused=tuple(unused),
        unused_bytes=sum(path.stat().st_size for path in unused),
        environments=tuple(_environments(cache, [use.bundle for use in uses if use.present])),
    )


def prune_cache(cache: Path) -> CacheContents:
    """Remove everything that no existing bundle uses; returns the contents before.

    Raises:
        UserError: an environment in the cache was changed.
    """
    contents = cache_contents(cache)
    for path in contents.unused:
        path.unlink(missing_ok=True)
    for environment in contents.environments:
        if not environment.used:
            remove_tree(environment.folder)
    for use in contents.uses:
        if not use.present:
            (cache / USES / f"{use.bundle.name}.json").unlink(missing_ok=True)
    return contents


def _environments(cache: Path, bundles: list[Path]) -> Iterator[Environment]:
    locks = list(_locks(bundles))
    for venv in existing_venvs(cache):
        files = (path for path in venv.folder.rglob("*") if path.is_file())
        size = sum(path.lstat().st_size for path in files)
        yield Environment(venv.folder, size, venv.locked in locks)


def _locks(bundles: list[Path]) -> Iterator[Mapping[str, str]]:
    for bundle in bundles:
        if is_bundle(bundle):
            # No environment is made of a lock that can't be read.
            with contextlib.suppress(UserError):
                yield Bundle(bundle).requirements


def _entries(cache: Path) -> list[Path]:
    return sorted(path for path in entries_folder(cache).glob(f"*/*{_SUFFIX}") if path.is_file())


def _abandoned(cache: Path) -> list[Path]:
    now = time.time()
    files = entries_folder(cache).glob("*/.*.tmp")
    return [path for path in files if now - path.stat().st_mtime > _ABANDONED_SECONDS]


def _recorded_uses(cache: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each bundle that was trained here, and the keys of the entries that it needs."""
    for path in sorted((cache / USES).glob("*.json")):
        # A damaged record keeps no entry.
        with contextlib.suppress(DamagedFile):
            record = read_object(path, "")
            bundle, keys = record.get("bundle"), record.get("keys")
            if isinstance(bundle, str) and isinstance(keys, list):
                yield Path(bundle), [key for key in keys if isinstance(key, str)]
