"""What an archive declares in its first member, so that unpacking can refuse anything else."""

import re
from typing import Any, Literal, TypeGuard

from attrs import frozen

from cvbundle.archive.tar import Member, Refused, TarReader, TarWriter
from cvbundle.bundle.layout import NAME_DIGITS
from cvbundle.files.digest import canonical_json
from cvbundle.files.json_objects import DamagedFile, parse_object

Part = Literal["runs", "data", "model"]
"""A part that an archive can contain besides the bundle."""

HEADER = "cvbundle-archive.json"
"""The name of the first member."""
_FORMAT = 1
_LIMIT = 4096
"""Bytes of the first member."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTS = ("data", "model", "provenance", "runs", "signature")


@frozen
class Contents:
    """The contents that an archive declares."""

    digest: str
    """sha256 of the bundle's `SHA256SUMS`, in hex."""
    files: int
    bytes: int
    """Total size of the files."""
    parts: tuple[str, ...]
    """Besides the bundle, sorted."""

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.digest[:NAME_DIGITS]


def write_contents(writer: TarWriter, contents: Contents) -> None:
    """Write the first member."""
    data = {
        "bundle": contents.digest,
        "bytes": contents.bytes,
        "cvbundle_archive": _FORMAT,
        "files": contents.files,
        "with": list(contents.parts),
    }
    content = canonical_json(data) + b"\n"
    writer.write(Member(HEADER, len(content)), iter([content]))


def read_contents(reader: TarReader) -> Contents:
    """Read the first member.

    Raises:
        Refused: it is not the first member of an archive of this format.
    """
    member = reader.next_member()
    if member is None or member.name != HEADER or member.size > _LIMIT:
        raise Refused("is not an archive of a bundle")
    try:
        declared = parse_object(b"".join(reader.chunks(member)), HEADER, "")
    except DamagedFile:
        raise Refused("does not declare its contents") from None
    if declared.get("cvbundle_archive") != _FORMAT:
        raise Refused("has another format: a newer cvbundle may be able to read it")
    digest, files, size, parts = (declared.get(key) for key in ("bundle", "files", "bytes", "with"))
    if (
        not isinstance(digest, str)
        or not _DIGEST.fullmatch(digest)
        or not _is_count(files)
        or not _is_count(size)
        or not isinstance(parts, list)
        or not all(part in _PARTS for part in parts)
    ):
        raise Refused("does not declare its contents")
    return Contents(digest, files, size, tuple(parts))


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
