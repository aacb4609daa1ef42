"""Verify that a bundle is what was compiled: every file, nothing added, nothing missing."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.difference import FileDifference, listed
from cvbundle.bundle.layout import NAME_DIGITS, NOT_HASHED, REQUIRED, SUMS, is_hashed_file
from cvbundle.files.digest import sha256_bytes, sha256_file
from cvbundle.problems import UserError

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def hashed_files(folder: Path) -> list[str]:
    """The paths in a bundle's folder that its digest covers, sorted, without `SHA256SUMS`."""
    return sorted(name for name, is_folder in _covered(folder) if not is_folder and name != SUMS)


def _covered(folder: Path) -> Iterator[tuple[str, bool]]:
    """The paths that a bundle's digest covers, and whether each is a folder."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] not in NOT_HASHED:
            yield name, path.is_dir() and not path.is_symlink()


def sums_of(folder: Path, computed: Mapping[str, str]) -> dict[str, str]:
    """Path to digest of a bundle's files as they are now; those in `computed` are not hashed."""
    names = hashed_files(folder)
    return {name: computed.get(name) or sha256_file(folder / name) for name in names}


def sums_text(sums: Mapping[str, str]) -> str:
    """The content of `SHA256SUMS`, of path to digest."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def read_sums(bundle: Bundle) -> dict[str, str]:
    """Path to digest, as listed in `SHA256SUMS`.

    Raises:
        UserError: it can't be read, or isn't such a file.
    """
    return parse_sums(_sums_content(bundle.folder), str(bundle.folder / SUMS))


def _sums_content(folder: Path) -> bytes:
    try:
        return (folder / SUMS).read_bytes()
    except OSError as error:
        raise UserError(
            f"{folder / SUMS} can't be read ({error.strerror}): {folder} is not a bundle"
        ) from None


def parse_sums(content: bytes, place: str) -> dict[str, str]:
    """Path to digest, as listed in the content of a `SHA256SUMS`; `place` says where that is.

    Raises:
        UserError: it isn't what `sums_text` writes: sorted, and each path once.
    """
    sums: dict[str, str] = {}
    last = ""
    for line in content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{place} has a line that is not a digest and a path: {line[:80]!r}")
        digest, name = match.groups()
        if name <= last:
            raise UserError(f"{place} is not sorted, or lists {name!r} twice")
        sums[name] = digest
        last = name
    return sums


def differences(bundle: Bundle) -> Iterator[FileDifference]:
    """How a bundle differs from what was compiled; nothing if it is whole.

    Raises:
        UserError: its `SHA256SUMS` can't be read.
    """
    _, differing = _verified(bundle)
    yield from differing


def require_verified(bundle: Bundle) -> Mapping[str, str]:
    """Path to digest of a bundle's files, which are what was compiled.

    Raises:
        UserError: the bundle differs; the message names the first differences.
    """
    sums, differing = _verified(bundle)
    if differing:
        raise UserError(f"{bundle.folder} is not what was compiled: {listed(differing)}")
    return sums


def _verified(bundle: Bundle) -> tuple[Mapping[str, str], list[FileDifference]]:
    """Path to digest as listed in `SHA256SUMS`, and how the bundle differs."""
    content = _sums_content(bundle.folder)
    digest = sha256_bytes(content)[:NAME_DIGITS]
    sums: Mapping[str, str] = {}
    differing: list[FileDifference] = []
    try:
        sums = parse_sums(content, SUMS)
        differing += _against(bundle.folder, sums)
    except UserError as error:
        differing.append(FileDifference(SUMS, "sums", actual=str(error)))
    if digest != bundle.name:
        kind: Literal["digest", "name"] = "digest" if differing else "name"
        differing.insert(0, FileDifference("", kind, digest, bundle.name))
    return sums, differing


def _against(folder: Path, sums: Mapping[str, str]) -> Iterator[FileDifference]:
    present = dict(_covered(folder))
    present.pop(SUMS, None)
    folders = {str(above) for name in sums for above in PurePosixPath(name).parents}
    for name in sorted({*present, *sums, *REQUIRED}):
        path = folder / name
        if name not in sums and name in REQUIRED:
            yield FileDifference(name, "unlisted")
        elif name in sums and not is_hashed_file(name):
            yield FileDifference(name, "unknown")
        elif name not in present:
            yield FileDifference(name, "missing")
        elif present[name] and name not in sums:
            if name not in folders:
                yield FileDifference(f"{name}/", "added")
        elif name not in sums:
            yield FileDifference(name, "added")
        elif path.is_symlink():
            yield FileDifference(name, "link")
        elif not path.is_file():
            # Reading a pipe would block forever.
            yield FileDifference(name, "not a file")
        elif (digest := sha256_file(path)) != sums[name]:
            yield FileDifference(name, "bytes", sums[name], digest)
