"""Archive a bundle as one `.tar.zst` file: the same content gives the same bytes.


cvbundle-archive.json        format, the bundle's digest, number of files, bytes, and parts
3f9c0a1b2c3d4e5f/…           the bundle, without local/, which is about one machine
3f9c0a1b2c3d4e5f/runs/…      with `runs`
3f9c0a1b2c3d4e5f/local/data/…, local/model/…   with `data`, `model`
3f9c0a1b2c3d4e5f/local/SHA256SUMS.sig           if it is signed
3f9c0a1b2c3d4e5f/local/provenance.intoto.json   with its provenance
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from cvbundle.archive.contents import Contents, Part, write_contents
from cvbundle.archive.member_names import MemberNames
from cvbundle.archive.provenance import CRATE, run_crate, statement
from cvbundle.archive.remote import is_remote, upload
from cvbundle.archive.signatures import sign
from cvbundle.archive.tar import Member, TarWriter
from cvbundle.bundle import layout
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.external_files import (
    ExternalFile,
    clip_files,
    located_weights,
    weight_files,
)
from cvbundle.bundle.layout import LOCAL_DATA, LOCAL_MODEL, SIGNATURE, STATEMENT
from cvbundle.bundle.run import Run
from cvbundle.bundle.run_lock import unchanging
from cvbundle.bundle.verify import read_sums, require_verified
from cvbundle.files.digest import json_file
from cvbundle.files.durable import new_large_file, write_bytes
from cvbundle.problems import UserError

SUFFIX = ".tar.zst"

_CHUNK_BYTES = 1 << 20


@frozen
class Archived:
    """A finished archive."""

    file: str
    """Its path or address."""
    bundle: str
    """Digest of the bundle, in hex."""
    files: int
    bytes: int
    """Total size of the files in it."""
    left_out: tuple[str, ...]
    """Symlinks among the runs' files, which are not archived."""


@frozen
class _Source:
    """A file that goes into an archive."""

    name: str
    """Below the bundle's folder."""
    path: Path
    size: int
    sha256: str | None
    """The expected digest, if known."""


def archive_bundle(
    bundle: Bundle,
    target: Path | str,
    parts: Collection[Part] = (),
    *,
    key: Path | None = None,
    provenance: bool = False,
) -> Archived:
    """Write a bundle and some parts into one file, which appears complete or not at all.

    The target is a path or a URL (`s3://…`) supported by fsspec.

    With `key`, an ssh key, the bundle is signed; the signature is also kept in its `local/`. With
    `provenance`, an in-toto statement is added and kept there too, and each archived run gets the
    metadata of an RO-Crate.

    Raises:
        UserError: the bundle or a part of it doesn't verify, or a run is being trained.
    """
    require_verified(bundle)
    runs = bundle.runs if "runs" in parts else ()
    with unchanging(run.folder for run in runs):
        return _archive(bundle, target, parts, runs, key, provenance)


def _archive(
    bundle: Bundle,
    target: Path | str,
    parts: Collection[Part],
    runs: Iterable[Run],
    key: Path | None,
    provenance: bool,
) -> Archived:
    chosen: list[str] = sorted(set(parts))
    sources = list(_bundle_files(bundle))
    if key is not None:
        signature = sign(bundle, key)
        path = bundle.folder / SIGNATURE
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, signature)
        sources.append(_Source(SIGNATURE, path, len(signature), None))
        chosen = sorted([*chosen, "signature"])
    if provenance:
        sources.append(_attested(bundle, runs))
        chosen = sorted([*chosen, "provenance"])
    left_out: list[str] = []
    sources += _run_files(runs, left_out)
    if "data" in chosen:
        sources += _data_files(bundle)
    if "model" in chosen:
        sources += _model_files(bundle)
    names = MemberNames()
    for source in sources:
        if problem := names.add(source.name):
            raise UserError(f"{bundle.name} can't be archived: {problem}")
    digest = bundle.digest
    total = sum(source.size for source in sources)
    contents = Contents(digest, len(sources), total, tuple(chosen))
    with _target(str(target)) as path, new_large_file(path) as file:
        writer = TarWriter(file)
        write_contents(writer, contents)
        for source in sources:
            member = Member(f"{contents.name}/{source.name}", source.size)
            try:
                executable = source.name == layout.LAUNCH
                writer.write(member, _content(source), executable=executable)
            except ValueError:
                raise UserError(f"{source.path} changed while it was being archived") from None
        writer.close()
    return Archived(str(target), digest, len(sources), total, tuple(left_out))


@contextmanager
def _target(name: str) -> Iterator[Path]:
    """The local file to write: the target itself, or a temporary file to upload."""
    if is_remote(name):
        with upload(name) as path:
            yield path
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path


def _bundle_files(bundle: Bundle) -> Iterator[_Source]:
    for name, digest in [(layout.SUMS, bundle.digest), *read_sums(bundle).items()]:
        path = bundle.folder / name
        yield _Source(name, path, path.stat().st_size, digest)


def _attested(bundle: Bundle, runs: Iterable[Run]) -> _Source:
    """Write the provenance of a bundle and of its archived runs."""
    path = bundle.folder / STATEMENT
    path.parent.mkdir(exist_ok=True)
    content = json_file(statement(bundle))
    write_bytes(path, content)
    for run in runs:
        write_bytes(run.folder / CRATE, json_file(run_crate(bundle, run)))
    return _Source(STATEMENT, path, len(content), None)


def _run_files(runs: Iterable[Run], left_out: list[str]) -> Iterator[_Source]:
    """The files of runs, except hidden ones, which are temporary files of processes."""
    for run in runs:
        for path in sorted(run.folder.rglob("*")):
            inside = path.relative_to(run.folder)
            name = f"{layout.RUNS}/{run.name}/{inside.as_posix()}"
            if any(part.startswith(".") for part in inside.parts):
                continue
            if path.is_symlink():
                left_out.append(name)
            elif path.is_file():
                yield _Source(name, path, path.stat().st_size, None)


def _data_files(bundle: Bundle) -> Iterator[_Source]:
    if bundle.data_root is None:
        raise UserError("the folder of the clips is unknown: set CVBUNDLE_DATA_ROOT")
    yield from _external(bundle.data_root, clip_files(bundle), LOCAL_DATA)


def _model_files(bundle: Bundle) -> Iterator[_Source]:
    files = weight_files(bundle)
    located = located_weights(bundle) if files else None
    if not files:
        raise UserError("the base model is on the hub and is not archived: leave out `model`")
    if located is None:
        raise UserError("the folder of the base model is unknown: set CVBUNDLE_MODEL_PATH")
    yield from _external(located[0], files, LOCAL_MODEL)


def _external(folder: Path, files: Iterable[ExternalFile], below: str) -> Iterator[_Source]:
    for file in sorted(files, key=lambda file: file.path):
        yield _Source(f"{below}/{file.path}", folder / file.path, file.size, file.digest)


def _content(source: _Source) -> Iterator[bytes]:
    """A file's bytes up to its recorded size; a log may have grown since."""
    digest = hashlib.sha256()
    left = source.size
    try:
        with source.path.open("rb") as file:
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                digest.update(chunk)
                yield chunk
            grew = source.sha256 is not None and bool(file.read(1))
    except FileNotFoundError:
        raise UserError(f"{source.path} is missing") from None
    if grew or (source.sha256 is not None and digest.hexdigest() != source.sha256):
        raise UserError(f"{source.path} doesn't match its digest in the bundle")
