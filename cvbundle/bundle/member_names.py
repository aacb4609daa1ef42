"""Names that mean the same file, and only that, on every disk that an archive may come to."""

import unicodedata

from attrs import define, field

_PART_BYTES, _NAME_BYTES = 255, 4000
"""What common disks allow: a name, and a path with room for the folder that it is put in."""


@define
class MemberNames:
    """The names of one archive, admitted one after another."""

    _exact: dict[str, str] = field(init=False, factory=dict)
    """Each path and folder, as a disk without upper and lower case sees it, and as it was."""
    _files: set[str] = field(init=False, factory=set)
    _folders: set[str] = field(init=False, factory=set)

    def admit(self, name: str) -> str | None:
        """Take a name; why it can't be had beside those before, or None where it can."""
        if why := _unsafe(name):
            return f"{name!r} {why}"
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path, is_file = "/".join(parts[:count]), count == len(parts)
            folded = _folded(path)
            before = self._exact.setdefault(folded, path)
            if before != path:
                return f"{name!r} and {before!r} are the same name on some disks"
            if folded in self._files:
                return f"{path!r} is there twice"
            if is_file and folded in self._folders:
                return f"{path!r} is a file and a folder"
            (self._files if is_file else self._folders).add(folded)
        return None


def _folded(path: str) -> str:
    """Equal for paths that a disk without case, or with one form of Unicode, takes for one."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _unsafe(name: str) -> str | None:
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of the archive"
    if "" in parts or "." in parts:
        return "is no plain path"
    if "\\" in name or not name.isprintable():
        return "has characters that mean something else on some disks"
    size = max(len(part.encode()) for part in parts)
    if size > _PART_BYTES or len(name.encode()) > _NAME_BYTES:
        return "is too long"
    return None
