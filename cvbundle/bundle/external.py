"""Locate and verify the files that a bundle only references: its clips and its base model."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.layout import DATASET, MODEL
from cvbundle.bundle.places import local_paths
from cvbundle.dataset.manifest import read_samples
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.model.hub import snapshot
from cvbundle.model.pin import blob_names

_BATCH = 256
"""Files submitted to the threads at a time: a manifest may reference millions."""
_SHA256_DIGITS = 64


@frozen
class Named:
    """A file that a bundle references by its digest."""

    path: str
    """Below the folder of the clips or of the model, with `/`."""
    size: int
    """Bytes."""
    digest: str
    """sha256 in hex; for a small file in the hub's cache, its git blob sha1."""


def named_clips(bundle: Path) -> Iterator[Named]:
    """The clips and images of a bundle's manifest, each once."""
    seen: set[str] = set()
    for sample in read_samples(bundle / DATASET):
        for path, size, digest in [
            (sample.clip, sample.size, sample.digest),
            *([(i.path, i.size, i.digest)] if (i := sample.image) else []),
        ]:
            if path not in seen:
                seen.add(path)
                yield Named(path, size, digest)


def named_weights(bundle: Path) -> tuple[Named, ...]:
    """The files of the base model that a bundle pins; none if it pins a commit of the hub."""
    record = json.loads((bundle / MODEL).read_bytes())
    return tuple(Named(file["path"], file["size"], file["sha256"]) for file in record["files"])


def clips_folder(bundle: Path) -> Path | None:
    """The folder of a bundle's clips on this machine; None if unknown."""
    path = local_paths(bundle)["data.root"]
    return expanded(path) if path else None


def weights(bundle: Path) -> tuple[Path, tuple[Named, ...]] | None:
    """The folder and files of a bundle's base model on this machine; None if unknown.

    A hub model is in the hub's cache, where files are named by their digests.
    """
    hub = json.loads((bundle / MODEL).read_bytes())["hub"]
    if hub is None:
        path = local_paths(bundle)["model.path"]
        return (expanded(path), named_weights(bundle)) if path else None
    folder = snapshot(hub["repository"], hub["commit"])
    if folder is None:
        return None
    return folder, tuple(Named(file.path, file.size, file.sha256) for file in blob_names(folder))


def wrong_files(
    folder: Path, files: Iterable[Named], hashed: Callable[[Path], str] = sha256_file
) -> Iterator[str]:
    """A sentence for each file that is missing or differs, in order.

    `hashed` returns the sha256 of a file.
    """

    def check(file: Named) -> str:
        return _wrong_file(folder, file, hashed)

    waiting = iter(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        while batch := list(islice(waiting, _BATCH)):
            yield from filter(None, threads.map(check, batch))


def _wrong_file(folder: Path, file: Named, hashed: Callable[[Path], str]) -> str:
    """How a file differs; empty if it doesn't."""
    path = folder / file.path
    try:
        if not path.is_file():
            return f"{file.path} is {'not a file' if path.exists() else 'missing'}"
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path} has {size:,} bytes instead of {file.size:,}"
        digest = hashed(path) if len(file.digest) == _SHA256_DIGITS else _git_digest(path)
    except OSError as error:
        return f"{file.path} can't be read ({error.strerror})"
    return "" if digest == file.digest else f"{file.path} has other bytes"


def _git_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
