"""Unpack a bundle from its archive, and verify all of it before any of it becomes visible.

Archives are untrusted. Members are written into a hidden folder beside the target, never more than
the archive declares, and removed again if they don't verify.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from cvbundle.archive.contents import Contents, read_contents
from cvbundle.archive.member_names import MemberNames
from cvbundle.archive.remote import open_archive
from cvbundle.archive.signatures import signer
from cvbundle.archive.tar import Member, Refused, TarReader
from cvbundle.bundle import layout
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.external_files import (
    ExternalFile,
    clip_files,
    differing_files,
    weight_files,
)
from cvbundle.bundle.layout import LOCAL_DATA, LOCAL_MODEL, SIGNATURE, STATEMENT
from cvbundle.bundle.sharing import SharedFiles
from cvbundle.bundle.store import staging
from cvbundle.bundle.verify import differences, hashed_files, read_sums
from cvbundle.files.digest import json_file
from cvbundle.files.durable import settle
from cvbundle.files.expand import expanded
from cvbundle.files.json_objects import DamagedFile
from cvbundle.model.hub import is_hub_id
from cvbundle.problems import UserError

_SINGLE_FILES = {SIGNATURE: "signature", STATEMENT: "provenance"}
"""Parts that are a single file."""


@frozen
class Unpacked:
    """An unpacked bundle."""

    bundle: Bundle
    created: bool
    """False if the same bundle already existed."""
    parts: tuple[str, ...]


def unpack_archive(
    archive: Path | str,
    out: Path,
    *,
    data_root: Path | None = None,
    model_path: str | None = None,
    signers: Path | None = None,
) -> Unpacked:
    """Unpack the bundle of an archive into the store `out`.

    Args:
        archive: a file written by `archive_bundle`, or its URL (`s3://…`).
        out: the folder in which the bundle's folder is created.
        data_root: the folder of the clips on this machine, if they are not in the archive.
        model_path: the base model, likewise.
        signers: a file of the keys allowed to sign the bundle; None requires no signature.

    Raises:
        UserError: the file is not an archive, is incomplete, or has undeclared contents.
    """
    new_store = not out.exists()
    try:
        with open_archive(str(archive)) as file:
            return _unpack(file, out, data_root, model_path, signers)
    except Refused as refused:
        raise UserError(f"{archive} is refused: it {refused}") from None
    finally:
        if new_store:
            # A refused archive leaves nothing behind; a folder with a bundle isn't empty.
            with contextlib.suppress(OSError):
                out.rmdir()


def _unpack(
    file: BinaryIO,
    out: Path,
    data_root: Path | None,
    model_path: str | None,
    signers: Path | None,
) -> Unpacked:
    reader = TarReader(file)
    contents = read_contents(reader)
    final = out / contents.name
    if final.exists():
        return _existing(final, contents)
    with staging(out, "unpacking") as folder:
        _require_room(folder, contents)
        work = folder / contents.name
        work.mkdir()
        _extract(reader, contents, work)
        bundle = Bundle(work)
        _verify(bundle, contents)
        if signers is not None:
            signer(bundle, signers)
        SharedFiles(out).share(work, read_sums(bundle))
        _make_read_only(work)
        paths = {
            "data.root": _below(final, LOCAL_DATA) if "data" in contents.parts else None,
            "model.path": _below(final, LOCAL_MODEL) if "model" in contents.parts else None,
            "output.dir": None,
        }
        if data_root is not None:
            paths["data.root"] = str(expanded(data_root).absolute())
        if model_path is not None:
            is_folder = expanded(model_path).is_dir() or not is_hub_id(model_path)
            paths["model.path"] = str(expanded(model_path).absolute()) if is_folder else model_path
        for name in layout.NOT_HASHED:
            (work / name).mkdir(exist_ok=True)
        (work / layout.PATHS).write_bytes(json_file(paths))
        if not settle(work, final):
            return _existing(final, contents)
    return Unpacked(Bundle(final), True, contents.parts)


def _below(final: Path, name: str) -> str:
    return str((final / name).absolute())


def _existing(final: Path, contents: Contents) -> Unpacked:
    """The existing bundle, unchanged, if it has all parts of the archive.

    Raises:
        UserError: it lacks one, or isn't what was compiled.
    """
    bundle = Bundle(final)
    if absent := [part for part in contents.parts if not _has(bundle, part)]:
        parts = ", ".join(absent)
        raise UserError(f"{final} already exists, and {parts} can't be added to it: use --out")
    try:
        _verify(bundle, contents)
    except Refused as refused:
        raise UserError(f"{final} already exists, and {refused}") from None
    return Unpacked(bundle, False, contents.parts)


def _has(bundle: Bundle, part: str) -> bool:
    """Whether an unpacked bundle has a part."""
    places = {"data": LOCAL_DATA, "model": LOCAL_MODEL, "runs": layout.RUNS}
    if part in places:
        folder = bundle.folder / places[part]
        return folder.is_dir() and any(folder.iterdir())
    return any((bundle.folder / name).is_file() for name, of in _SINGLE_FILES.items() if of == part)


def _require_room(folder: Path, contents: Contents) -> None:
    free = shutil.disk_usage(folder).free
    if contents.bytes > free:
        raise Refused(f"declares {contents.bytes:,} bytes, but only {free:,} are free")
    disk = os.statvfs(folder)
    if disk.f_files and contents.files > disk.f_favail:
        raise Refused(
            f"declares {contents.files:,} files, but only {disk.f_favail:,} inodes are free"
        )


def _extract(reader: TarReader, contents: Contents, bundle: Path) -> None:
    """Write the members; the folder is private and contains no symlinks to follow."""
    names = MemberNames()
    files, left = 0, contents.bytes
    while (member := reader.next_member()) is not None:
        files += 1
        left -= member.size
        if files > contents.files or left < 0:
            raise Refused(
                f"contains more than it declares, {contents.files:,} files of "
                f"{contents.bytes:,} bytes"
            )
        if problem := names.add(member.name):
            raise Refused(f"contains an invalid name: {problem}")
        _write(reader, member, bundle / _placed(member.name, contents))
    if files < contents.files or left:
        raise Refused("contains less than it declares")


def _placed(name: str, contents: Contents) -> str:
    """The path of a member in the bundle."""
    top, _, inner = name.partition("/")
    if top != contents.name or not inner:
        raise Refused(f"contains {name!r}, which is outside the bundle's folder")
    parts = inner.split("/")
    if parts[0] == layout.RUNS:
        is_of_run = len(parts) > 2 and layout.is_run_name(parts[1])
        allowed = is_of_run and "runs" in contents.parts
    elif inner in _SINGLE_FILES:
        allowed = _SINGLE_FILES[inner] in contents.parts
    elif parts[0] == layout.LOCAL:
        allowed = len(parts) > 2 and parts[1] in ("data", "model") and parts[1] in contents.parts
    else:
        allowed = True
    if not allowed:
        raise Refused(f"contains {name!r}, which it does not declare")
    return inner


def _write(reader: TarReader, member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in reader.chunks(member):
            file.write(chunk)


def _verify(bundle: Bundle, contents: Contents) -> None:
    """Verify that the bundle is the declared one, and its data and model the ones it names."""
    has_sums = (bundle.folder / layout.SUMS).is_file()
    if not has_sums or bundle.digest != contents.digest:
        raise Refused("contains another bundle than it declares")
    difference = next(differences(bundle), None)
    if difference is not None:
        raise Refused(f"contains a bundle that is not what was compiled: {difference}")
    try:
        if "data" in contents.parts:
            _verify_external(bundle.folder / LOCAL_DATA, clip_files(bundle))
        if "model" in contents.parts:
            _verify_external(bundle.folder / LOCAL_MODEL, iter(weight_files(bundle)))
    except DamagedFile:
        raise Refused("contains a manifest, or a record of its model, that can't be read") from None


def _verify_external(folder: Path, files: Iterator[ExternalFile]) -> None:
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    def remaining() -> Iterator[ExternalFile]:
        for file in files:
            present.discard(file.path)
            yield file

    difference = next(differing_files(folder, remaining()), None)
    if difference is not None:
        raise Refused(f"contains a file that doesn't match the bundle: {difference}")
    if present:
        raise Refused(f"contains {min(present)!r}, which the bundle does not name")


def _make_read_only(bundle: Path) -> None:
    """Set the permissions of a compiled bundle, independent of the umask."""
    names = [*hashed_files(bundle), layout.SUMS]
    folders = {above for name in names for above in Path(name).parents if above != Path()}
    for name in names:
        (bundle / name).chmod(0o555 if name == layout.LAUNCH else 0o444)
    for folder in folders:
        (bundle / folder).chmod(0o555)
