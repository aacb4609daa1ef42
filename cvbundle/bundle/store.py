"""The folder that bundles are in, and how one is named on the command line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cvbundle.bundle.layout import NAME_DIGITS, SUMS
from cvbundle.files.digest import sha256_file
from cvbundle.files.durable import remove_abandoned, temporary_folder
from cvbundle.problems import UserError

STORE = Path("bundles")
"""Where bundles go unless told otherwise, in the current folder."""

_HEX = re.compile(r"[0-9a-f]{4,64}")
_NAME = re.compile(rf"[0-9a-f]{{{NAME_DIGITS}}}")


@contextmanager
def staging(store: Path, label: Literal["compiling", "unpacking"]) -> Iterator[Path]:
    """A folder on a store's disk to make bundles in, which nobody sees; removed in the end.

    Whatever killed processes left of theirs is removed first.
    """
    for other in ("compiling", "unpacking"):
        remove_abandoned(store, other)
    with temporary_folder(store, label) as folder:
        yield folder


def list_bundles(store: Path) -> list[Path]:
    """Every bundle of a store, by name."""
    if not store.is_dir():
        return []
    return sorted(
        path for path in store.iterdir() if _NAME.fullmatch(path.name) and is_bundle(path)
    )


def _is_named(bundle: Path, digits: str) -> bool:
    """Whether a bundle's digest begins with these digits, beyond its name if there are more."""
    if len(digits) <= NAME_DIGITS:
        return bundle.name.startswith(digits)
    return bundle.name == digits[:NAME_DIGITS] and sha256_file(bundle / SUMS).startswith(digits)


def is_bundle(path: Path) -> bool:
    """Whether a folder looks like a bundle; `verify` tells whether it is one."""
    return (path / SUMS).is_file()


def find_bundle(text: str, store: Path = STORE) -> Path:
    """The bundle that a path or the beginning of a hash means.

    Raises:
        UserError: there is none, or several.
    """
    path = Path(text)
    if path.is_dir():
        if not is_bundle(path):
            raise UserError(f"{text} is not a bundle: it has no {SUMS}")
        return path.resolve()
    if not _HEX.fullmatch(text):
        raise UserError(f"{text} is neither a folder nor at least 4 digits of a bundle's hash")
    found = [path for path in list_bundles(store) if _is_named(path, text)]
    if not found:
        raise UserError(f"no bundle in {store} begins with {text}: name its folder")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{text} could be {names}: write more of its digits")
    return found[0].resolve()
