"""Large files that several bundles of a store hold are one file on its disk."""

import contextlib
import filecmp
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from cvbundle.bundle.layout import SUMS
from cvbundle.bundle.store import list_bundles

_LARGE = 1 << 20
"""Bytes from which on a file is shared: a link is worth its while."""


def share_file(source: Path, target: Path) -> bool:
    """The same file under another name: linked where it is large and the disk has links, or copied.

    True where it is linked.
    """
    if source.stat().st_size >= _LARGE:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return True
    shutil.copyfile(source, target)
    return False


class SharedFiles:
    """The large files of a store, for new bundles to be links to.

    What the `SHA256SUMS` of the bundles say tells where to look; a file is linked only after its
    bytes were compared. Where that can't be done, a bundle keeps its own.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._shared: dict[str, Path] = {}
        """Files of new bundles by their digest, which was taken when they were written."""

    def share(self, bundle: Path, sums: Mapping[str, str]) -> None:
        """Put links in the place of a bundle's large files, which nobody sees yet.

        `sums` is the digest of each of its files by its path, as they were just hashed.
        """
        for name, digest in sums.items():
            path = bundle / name
            if path.stat().st_size < _LARGE:
                continue
            if digest in self._shared:
                _put_link(self._shared[digest], path)
                continue
            for other in self._equal_files(digest):
                if _is_equal(other, path) and _put_link(other, path):
                    break
            self._shared[digest] = path

    def _equal_files(self, digest: str) -> Iterator[Path]:
        """The files in the store that should have this digest."""
        wanted = f"{digest}  ".encode()
        for bundle, content in self._sums:
            # Looked for as bytes: a store holds thousands of bundles, and few hold the file.
            start = content.find(wanted)
            if start >= 0:
                end = content.find(b"\n", start)
                yield bundle / os.fsdecode(content[start + len(wanted) : end])

    @cached_property
    def _sums(self) -> list[tuple[Path, bytes]]:
        found = []
        for bundle in list_bundles(self._store):
            with contextlib.suppress(OSError):
                found.append((bundle, (bundle / SUMS).read_bytes()))
        return found


def _is_equal(other: Path, own: Path) -> bool:
    """Whether a file has the bytes of our own, and belongs to us: others could change theirs."""
    try:
        status = other.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_uid == os.geteuid()
            and filecmp.cmp(own, other, shallow=False)
        )
    except OSError:
        return False


def _put_link(source: Path, target: Path) -> bool:
    """Put a link in the place of an equal file; False where that can't be done."""
    temporary = target.with_name(f".{target.name}.link")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError:
        # On another disk, on one without links, linked too often already, or just removed.
        return False
    finally:
        # Still there too where both were links of one file: then renaming does nothing.
        temporary.unlink(missing_ok=True)
    return True
