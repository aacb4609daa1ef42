"""Pin the base model: by each file's digest, or by the hub's commit."""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from attrs import frozen

from cvbundle.files.digest import canonical_json, sha256_bytes
from cvbundle.files.known_digests import known_digests
from cvbundle.problems import UserError

COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "transformer", "vae")
_INDEX = "model_index.json"
_VOCABULARIES = ("spiece.model", "tokenizer.json")
_SHARDS = ".safetensors.index.json"
"""The suffix of an index that maps each tensor to its file."""
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SUFFIXES = (".safetensors", ".json", ".model", ".txt")


@frozen(order=True)
class ModelFile:
    """A file of the base model."""

    path: str
    """Below the model's folder, with `/`."""
    size: int
    """Bytes."""
    sha256: str


def model_files(folder: Path) -> list[str]:
    """The files of a model that training can load, sorted; never a pickle."""
    names = [_INDEX] if (folder / _INDEX).is_file() else []
    for component in COMPONENTS:
        if not (folder / component).is_dir():
            raise UserError(f"{folder} has no folder {component}: it isn't a complete CogVideoX")
        for path in sorted((folder / component).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and path.suffix in _SUFFIXES and not hidden:
                names.append(path.relative_to(folder).as_posix())
    for component in ("text_encoder", "transformer", "vae"):
        if not any(
            name.startswith(f"{component}/") and name.endswith(".safetensors") for name in names
        ):
            raise UserError(
                f"{folder / component} has no .safetensors file: pickles are not loaded"
            )
    if not {f"tokenizer/{name}" for name in _VOCABULARIES} & set(names):
        raise UserError(f"{folder / 'tokenizer'} has no {' or '.join(_VOCABULARIES)}")
    _require_shards(folder, names)
    return sorted(names)


def _require_shards(folder: Path, names: Iterable[str]) -> None:
    """Raise `UserError` if a shard in an index is missing, as after an interrupted download."""
    present = set(names)
    for index in sorted(name for name in present if name.endswith(_SHARDS)):
        try:
            shards = set(json.loads((folder / index).read_bytes())["weight_map"].values())
        except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
            raise UserError(f"{folder / index} is not an index of weight files") from None
        parent = index.rpartition("/")[0]
        missing = sorted(name for name in map(str, shards) if f"{parent}/{name}" not in present)
        if missing:
            raise UserError(f"{folder / parent} lacks {', '.join(missing)}: download it again")


def pin_folder(folder: Path, *, rehash: bool = False) -> tuple[ModelFile, ...]:
    """The digest of every file of a model's folder; `rehash` ignores cached digests.

    Raises:
        UserError: a component of the model is missing.
    """
    names = model_files(folder)
    with (
        known_digests(rehash=rehash) as digest_of,
        ThreadPoolExecutor(os.cpu_count() or 1) as threads,
    ):
        digests = list(threads.map(digest_of, (folder / name for name in names)))
    return tuple(
        ModelFile(name, (folder / name).stat().st_size, digest)
        for name, digest in zip(names, digests, strict=True)
    )


def verify_files(folder: Path, files: Sequence[ModelFile]) -> None:
    """Verify a model's files against their pinned digests; unchanged ones are not hashed again.

    Raises:
        UserError: a file is missing or differs; the message names the first.
    """

    def mismatch(digest_of: Callable[[Path], str], file: ModelFile) -> str:
        path = folder / file.path
        try:
            if path.stat().st_size != file.size:
                return f"has {path.stat().st_size:,} bytes instead of {file.size:,}"
            return "" if digest_of(path) == file.sha256 else "has other bytes"
        except OSError as error:
            return f"can't be read ({error.strerror})"

    with (
        known_digests() as digest_of,
        ThreadPoolExecutor(os.cpu_count() or 1) as threads,
    ):
        reasons = threads.map(partial(mismatch, digest_of), files)
        for file, reason in zip(files, reasons, strict=True):
            if reason:
                raise UserError(
                    f"{folder / file.path} {reason}: it is not the model that this bundle pins"
                )


def blob_names(folder: Path) -> tuple[ModelFile, ...]:
    """The files of a snapshot in the hub's cache, by the names of their blobs.

    huggingface_hub names a blob by the sha256 of a large file, or the git hash of a small one
    (2.4.0, file_download.py:1677), so only files that aren't symlinks are hashed here.
    """
    files = []
    with known_digests() as digest_of:
        for name in model_files(folder):
            path = folder / name
            target = Path(os.path.realpath(path))
            is_named = path.is_symlink() and _BLOB.fullmatch(target.name) is not None
            digest = target.name if is_named else digest_of(path)
            files.append(ModelFile(name, target.stat().st_size, digest))
    return tuple(files)


def component_digest(files: Iterable[ModelFile], *components: str) -> str:
    """One digest for the files of some components of a model."""
    chosen = [
        [file.path, file.sha256] for file in sorted(files) if file.path.split("/")[0] in components
    ]
    return sha256_bytes(canonical_json(chosen))
