"""Share large files between the bundles of a store with hard links."""

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
"""The size in bytes from which a file is shared."""


def share_file(source: Path, target: Path) -> bool:
    """Hard-link a large file, or copy it if it is small or can't be linked.

    Returns whether it was linked.
    """
    if source.stat().st_size >= _LARGE:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return True
    shutil.copyfile(source, target)
    return False


class SharedFiles:
    """The large files of a store, which new bundles link to.

    Candidates are contents in the bundles' `SHA256SUMS`; a file is linked only after its bytes were
    compared. If it can't be linked, the bundle keeps its own copy.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._shared: dict[str, Path] = {}
        """Files of new bundles by their digests, which were computed when they were written."""

    def share(self, bundle: Path, sums: Mapping[str, str]) -> None:
        """Replace the large files of a bundle that is still hidden by links.

        `sums` maps the path of each of its files to its digest, which was just computed.
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
            # Searched as bytes: a store may contain thousands of bundles, few with this file.
            start = content.find(wanted)
            if start >= 0:
                end = content.find(b"\n", start)
                yield bundle / os.fsdecode(content[start + len(wanted) : end])

    @cached_property
    def _sums(self) -> list[tuple[Path, bytes]]:
        contents = []
        for bundle in list_bundles(self._store):
            with contextlib.suppress(OSError):
                contents.append((bundle.folder, (bundle.folder / SUMS).read_bytes()))
        return contents


def _is_equal(other: Path, own: Path) -> bool:
    """Whether a file has the same bytes and the same owner: another owner could change it."""
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
    """Replace an equal file by a link; returns whether that succeeded."""
    temporary = target.with_name(f".{target.name}.link")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError:
        # Another file system, one without links, too many links, or just removed.
        return False
    finally:
        # rename(2) does nothing if both are links to the same file.
        temporary.unlink(missing_ok=True)
    return True
