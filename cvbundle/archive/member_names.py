"""Check that an archive's member names are safe and unambiguous on every file system."""

import unicodedata

from attrs import define, field

_PART_BYTES, _NAME_BYTES = 255, 4000
"""Limits of common file systems: a name, and a path with room for the target folder."""
_DEPTH = 64
"""Folders in each other: shutil removes them by recursion, to a depth of about a thousand."""


@define
class MemberNames:
    """The member names of one archive."""

    _exact: dict[str, str] = field(init=False, factory=dict)
    """Every path and folder, by its case-folded form."""
    _files: set[str] = field(init=False, factory=set)
    _folders: set[str] = field(init=False, factory=set)

    def add(self, name: str) -> str | None:
        """Add a name; returns why it is unsafe or conflicts with another, or None."""
        if problem := _unsafe(name):
            return f"{name!r} {problem}"
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path, is_file = "/".join(parts[:count]), count == len(parts)
            folded = _folded(path)
            before = self._exact.setdefault(folded, path)
            if before != path:
                return f"{name!r} and {before!r} are the same name on some file systems"
            if folded in self._files:
                return f"{path!r} is repeated"
            if is_file and folded in self._folders:
                return f"{path!r} is a file and a folder"
            (self._files if is_file else self._folders).add(folded)
        return None


def _folded(path: str) -> str:
    """Equal for paths that are the same if case or Unicode form is ignored."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _unsafe(name: str) -> str | None:
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of the archive"
    if "" in parts or "." in parts:
        return "is not a normalized path"
    if "\\" in name or not name.isprintable():
        return "has characters with another meaning on some file systems"
    size = max(len(part.encode()) for part in parts)
    if size > _PART_BYTES or len(name.encode()) > _NAME_BYTES:
        return "is too long"
    if len(parts) > _DEPTH:
        return f"is more than {_DEPTH} folders deep"
    return None
