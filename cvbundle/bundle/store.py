"""A store, which is a folder of bundles, and how a bundle in it is named."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import NAME_DIGITS, SUMS
from cvbundle.files.durable import remove_abandoned, temporary_folder
from cvbundle.problems import UserError

STORE = Path("bundles")
"""The default store, in the current folder."""

_HEX = re.compile(r"[0-9a-f]{4,64}")
_NAME = re.compile(rf"[0-9a-f]{{{NAME_DIGITS}}}")


@contextmanager
def staging(store: Path, label: Literal["compiling", "unpacking"]) -> Iterator[Path]:
    """A hidden folder on a store's disk to make bundles in, removed when the block ends.

    First removes such folders that killed processes left.
    """
    for other in ("compiling", "unpacking"):
        remove_abandoned(store, other)
    with temporary_folder(store, label) as folder:
        yield folder


def list_bundles(store: Path) -> tuple[Bundle, ...]:
    """The bundles in a store, by name."""
    if not store.is_dir():
        return ()
    folders = (path for path in store.iterdir() if _NAME.fullmatch(path.name) and is_bundle(path))
    return tuple(Bundle(path) for path in sorted(folders))


def _has_digest(bundle: Bundle, digits: str) -> bool:
    """Whether a bundle's digest starts with these digits, which may be more than its name has."""
    if len(digits) <= NAME_DIGITS:
        return bundle.name.startswith(digits)
    return bundle.name == digits[:NAME_DIGITS] and bundle.digest.startswith(digits)


def is_bundle(path: Path) -> bool:
    """Whether a folder has a bundle's `SHA256SUMS`; `verify` compares its files with that."""
    return (path / SUMS).is_file()


def find_bundle(text: str, store: Path = STORE) -> Bundle:
    """The bundle with this path, or whose digest starts with these digits.

    Raises:
        UserError: there is none, or more than one.
    """
    path = Path(text)
    if path.is_dir():
        if not is_bundle(path):
            raise UserError(f"{text} is not a bundle: it has no {SUMS}")
        return Bundle(path.resolve())
    if not _HEX.fullmatch(text):
        raise UserError(f"{text} is neither a folder nor at least 4 digits of a bundle's hash")
    matching = [bundle for bundle in list_bundles(store) if _has_digest(bundle, text)]
    if not matching:
        raise UserError(f"no bundle in {store} starts with {text}: give the path of its folder")
    if len(matching) > 1:
        names = ", ".join(bundle.name for bundle in matching)
        raise UserError(f"{text} could be {names}: write more of its digits")
    return Bundle(matching[0].folder.resolve())
