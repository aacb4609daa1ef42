"""The files that a bundle names but doesn't contain: its clips and its base model."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.difference import FileDifference
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.model.hub import snapshot
from cvbundle.model.pin import blob_names

_BATCH = 256
"""Files submitted to the threads at a time: a manifest may name millions."""
_SHA256_DIGITS = 64


@frozen
class ExternalFile:
    """A file that a bundle names by its digest."""

    path: str
    """Below the folder of the clips or of the model, with `/`."""
    size: int
    """Bytes."""
    digest: str
    """sha256 in hex; for a small file in the hub's cache, its git blob sha1."""


def clip_files(bundle: Bundle) -> Iterator[ExternalFile]:
    """The clips and images of a bundle's samples, each once.

    Raises:
        DamagedFile: the manifest can't be read.
    """
    seen: set[str] = set()
    for sample in bundle.samples():
        for path, size, digest in [
            (sample.clip, sample.size, sample.digest),
            *([(i.path, i.size, i.digest)] if (i := sample.image) else []),
        ]:
            if path not in seen:
                seen.add(path)
                yield ExternalFile(path, size, digest)


def weight_files(bundle: Bundle) -> tuple[ExternalFile, ...]:
    """The files of the base model that a bundle pins; none if it pins a commit of the hub.

    Raises:
        DamagedFile: `model.json` can't be read.
    """
    return tuple(ExternalFile(file.path, file.size, file.sha256) for file in bundle.model.files)


def located_weights(bundle: Bundle) -> tuple[Path, tuple[ExternalFile, ...]] | None:
    """The folder and files of a bundle's base model on this machine; None if unknown.

    A hub model is in the hub's cache, where files are named by their digests.

    Raises:
        DamagedFile: `model.json` can't be read.
        UserError: the model is incomplete.
    """
    hub = bundle.model.hub
    if hub is None:
        path = bundle.model_path
        return (expanded(path), weight_files(bundle)) if path else None
    folder = snapshot(hub.repository, hub.commit)
    if folder is None:
        return None
    files = blob_names(folder)
    return folder, tuple(ExternalFile(file.path, file.size, file.sha256) for file in files)


def differing_files(
    folder: Path, files: Iterable[ExternalFile], hashed: Callable[[Path], str] = sha256_file
) -> Iterator[FileDifference]:
    """The files that are missing or differ, in order; `hashed` returns the sha256 of a file."""

    def compare(file: ExternalFile) -> FileDifference | None:
        return _difference(folder, file, hashed)

    waiting = iter(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        while batch := list(islice(waiting, _BATCH)):
            yield from filter(None, threads.map(compare, batch))


def _difference(
    folder: Path, file: ExternalFile, hashed: Callable[[Path], str]
) -> FileDifference | None:
    path = folder / file.path
    try:
        if not path.is_file():
            return FileDifference(file.path, "not a file" if path.exists() else "missing")
        size = path.stat().st_size
        if size != file.size:
            return FileDifference(file.path, "size", file.size, size)
        digest = hashed(path) if len(file.digest) == _SHA256_DIGITS else _git_digest(path)
    except OSError as error:
        return FileDifference(file.path, "unreadable", actual=error.strerror)
    if digest != file.digest:
        return FileDifference(file.path, "bytes", file.digest, digest)
    return None


def _git_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
