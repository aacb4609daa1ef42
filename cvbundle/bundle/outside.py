"""What a bundle only names: the bytes of its clips and of its base model, wherever they are."""

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
from cvbundle.digest import sha256_file
from cvbundle.expand import expanded
from cvbundle.model.hub import snapshot
from cvbundle.model.pin import blob_names

_AT_ONCE = 256
"""Files that are given to the threads together: a manifest may name millions."""
_SHA256_DIGITS = 64


@frozen
class Named:
    """A file that a bundle names by its digest."""

    path: str
    """Below the folder that it is in, with `/`."""
    size: int
    """Bytes."""
    digest: str
    """sha256 in hex; of a small file in the hub's cache, git's sha1 of it as a blob."""


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
    """The files of the base model that a bundle pins; none where it pins a commit of the hub."""
    record = json.loads((bundle / MODEL).read_bytes())
    return tuple(Named(file["path"], file["size"], file["sha256"]) for file in record["files"])


def clips_folder(bundle: Path) -> Path | None:
    """Where a bundle's clips are on this machine, if that is known."""
    told = local_paths(bundle)["data.root"]
    return expanded(told) if told else None


def weights(bundle: Path) -> tuple[Path, tuple[Named, ...]] | None:
    """Where a bundle's base model is, and its files; None where that is not known here.

    A model of the hub is in the hub's cache, which names each file by what it holds.
    """
    hub = json.loads((bundle / MODEL).read_bytes())["hub"]
    if hub is None:
        told = local_paths(bundle)["model.path"]
        return (expanded(told), named_weights(bundle)) if told else None
    folder = snapshot(hub["repository"], hub["commit"])
    if folder is None:
        return None
    return folder, tuple(Named(file.path, file.size, file.sha256) for file in blob_names(folder))


def wrong_files(
    folder: Path, files: Iterable[Named], hashed: Callable[[Path], str] = sha256_file
) -> Iterator[str]:
    """The files that are missing or hold something else, a sentence each, in the order given.

    `hashed` tells the sha256 of a file.
    """

    def look(file: Named) -> str:
        return _wrong_file(folder, file, hashed)

    waiting = iter(files)
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        while part := list(islice(waiting, _AT_ONCE)):
            yield from filter(None, threads.map(look, part))


def _wrong_file(folder: Path, file: Named, hashed: Callable[[Path], str]) -> str:
    """What is wrong with a file; empty where nothing is."""
    path = folder / file.path
    try:
        if not path.is_file():
            return f"{file.path} is {'not a file' if path.exists() else 'missing'}"
        size = path.stat().st_size
        if size != file.size:
            return f"{file.path} has {size:,} bytes instead of {file.size:,}"
        found = hashed(path) if len(file.digest) == _SHA256_DIGITS else _git_digest(path)
    except OSError as error:
        return f"{file.path} can't be read ({error.strerror})"
    return "" if found == file.digest else f"{file.path} has other bytes"


def _git_digest(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
