"""A bundle as one file, `.tar.zst`: the same bytes whenever it is made of the same content.

The first member says what the archive holds, so that unpacking can refuse what it doesn't:

    cvbundle-archive.json        format, the bundle's digest, how many files and bytes, which parts
    3f9c0a1b2c3d4e5f/…           the bundle; of its local/ nothing, for it speaks of one machine
    3f9c0a1b2c3d4e5f/runs/…      with `runs`
    3f9c0a1b2c3d4e5f/local/data/…, local/model/…   with `data`, `model`
    3f9c0a1b2c3d4e5f/local/SHA256SUMS.sig           if it was signed
    3f9c0a1b2c3d4e5f/local/provenance.intoto.json   with its provenance
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.bundle.attestation import CRATE, run_crate, statement
from cvbundle.bundle.layout import LOCAL_DATA, LOCAL_MODEL, SIGNATURE, STATEMENT
from cvbundle.bundle.member_names import MemberNames
from cvbundle.bundle.outside import Named, clips_folder, named_clips, named_weights, weights
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.remote import is_remote, upload
from cvbundle.bundle.runs import Run, held_still, list_runs
from cvbundle.bundle.signing import sign
from cvbundle.bundle.tar_stream import Member, TarWriter
from cvbundle.bundle.verify import bundle_digest, read_sums, require_verified
from cvbundle.digest import canonical_json, json_file
from cvbundle.durable import new_large_file, write_bytes
from cvbundle.problems import UserError

Part = Literal["runs", "data", "model"]
"""What an archive can hold beside the bundle."""

HEADER = "cvbundle-archive.json"
FORMAT = 1
SUFFIX = ".tar.zst"

_AT_ONCE = 1 << 20


@frozen
class Archived:
    """An archive that is in place."""

    file: str
    """Its path or address."""
    bundle: str
    """Digest of the bundle, in hex."""
    files: int
    bytes: int
    """Of the files in it."""
    left_out: tuple[str, ...]
    """Links among the runs' files: what they lead to may be anywhere."""


@frozen
class _Source:
    """A file that goes into an archive."""

    name: str
    """Below the bundle's folder."""
    path: Path
    size: int
    sha256: str | None
    """What it must be, where that is known."""


def archive_bundle(
    bundle: Path,
    target: Path | str,
    parts: Collection[Part] = (),
    *,
    key: Path | None = None,
    provenance: bool = False,
) -> Archived:
    """Write a bundle and some parts beside it into one file, which appears whole or not at all.

    The target is a path, or an address (`s3://…`) that fsspec reaches.

    With a `key`, an ssh key, the bundle is signed; the signature stays in its `local/`, too. With
    `provenance`, so does an in-toto statement, and each run that goes in gets the metadata of an
    RO-Crate.

    Raises:
        UserError: the bundle or a part of it is not what it should be, or a run is being trained.
    """
    require_verified(bundle)
    runs = list_runs(bundle_runs(bundle)) if "runs" in parts else []
    with held_still(runs):
        return _archive(bundle, target, parts, runs, key, provenance)


def _archive(
    bundle: Path,
    target: Path | str,
    parts: Collection[Part],
    runs: list[Run],
    key: Path | None,
    provenance: bool,
) -> Archived:
    chosen: list[str] = sorted(set(parts))
    sources = list(_bundle_files(bundle))
    if key is not None:
        signature = sign(bundle, key)
        (bundle / layout.LOCAL).mkdir(exist_ok=True)
        write_bytes(bundle / SIGNATURE, signature)
        sources.append(_Source(SIGNATURE, bundle / SIGNATURE, len(signature), None))
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
        if why := names.admit(source.name):
            raise UserError(f"{bundle.name} can't be archived: {why}")
    digest = bundle_digest(bundle)
    total = sum(source.size for source in sources)
    header = {
        "bundle": digest,
        "bytes": total,
        "cvbundle_archive": FORMAT,
        "files": len(sources),
        "with": chosen,
    }
    with _target(str(target)) as path, new_large_file(path) as file:
        writer = TarWriter(file)
        head = canonical_json(header) + b"\n"
        writer.write(Member(HEADER, len(head)), iter([head]))
        for source in sources:
            member = Member(f"{digest[: layout.NAME_DIGITS]}/{source.name}", source.size)
            try:
                executable = source.name == layout.LAUNCH
                writer.write(member, _content(source), executable=executable)
            except ValueError:
                raise UserError(f"{source.path} changed while it was archived") from None
        writer.close()
    return Archived(str(target), digest, len(sources), total, tuple(left_out))


@contextmanager
def _target(name: str) -> Iterator[Path]:
    """The file to write on this machine."""
    if is_remote(name):
        with upload(name) as path:
            yield path
        return
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path


def _bundle_files(bundle: Path) -> Iterator[_Source]:
    yield _Source(layout.SUMS, bundle / layout.SUMS, (bundle / layout.SUMS).stat().st_size, None)
    for name, digest in read_sums(bundle).items():
        yield _Source(name, bundle / name, (bundle / name).stat().st_size, digest)


def _attested(bundle: Path, runs: Iterable[Run]) -> _Source:
    """Write what others' tools read of a bundle, and of the runs that go with it."""
    (bundle / layout.LOCAL).mkdir(exist_ok=True)
    content = json_file(statement(bundle))
    write_bytes(bundle / STATEMENT, content)
    for run in runs:
        write_bytes(run.folder / CRATE, json_file(run_crate(bundle, run)))
    return _Source(STATEMENT, bundle / STATEMENT, len(content), None)


def _run_files(runs: Iterable[Run], left_out: list[str]) -> Iterator[_Source]:
    """The files of runs, but hidden ones: they are a process's own, or what a killed one left."""
    for run in runs:
        for path in sorted(run.folder.rglob("*")):
            inside = path.relative_to(run.folder)
            name = f"{layout.RUNS}/{run.folder.name}/{inside.as_posix()}"
            if any(part.startswith(".") for part in inside.parts):
                continue
            if path.is_symlink():
                left_out.append(name)
            elif path.is_file():
                yield _Source(name, path, path.stat().st_size, None)


def _data_files(bundle: Path) -> Iterator[_Source]:
    folder = clips_folder(bundle)
    if folder is None:
        raise UserError("where the clips are is not known: set CVBUNDLE_DATA_ROOT")
    yield from _named(folder, named_clips(bundle), LOCAL_DATA)


def _model_files(bundle: Path) -> Iterator[_Source]:
    files = named_weights(bundle)
    found = weights(bundle) if files else None
    if not files:
        raise UserError("the base model is the hub's, which keeps it: leave out `model`")
    if found is None:
        raise UserError("where the base model is is not known: set CVBUNDLE_MODEL_PATH")
    yield from _named(found[0], files, LOCAL_MODEL)


def _named(folder: Path, files: Iterable[Named], below: str) -> Iterator[_Source]:
    for file in sorted(files, key=lambda file: file.path):
        yield _Source(f"{below}/{file.path}", folder / file.path, file.size, file.digest)


def _content(source: _Source) -> Iterator[bytes]:
    """A file's bytes up to the size it had; what a log grew by since is left for the next time."""
    digest = hashlib.sha256()
    left = source.size
    try:
        with source.path.open("rb") as file:
            while left and (chunk := file.read(min(left, _AT_ONCE))):
                left -= len(chunk)
                digest.update(chunk)
                yield chunk
            grew = source.sha256 is not None and bool(file.read(1))
    except FileNotFoundError:
        raise UserError(f"{source.path} is missing") from None
    if grew or (source.sha256 is not None and digest.hexdigest() != source.sha256):
        raise UserError(f"{source.path} is not what the bundle names")
