"""Run the code of a bundle that was verified, whatever happens to the bundle meanwhile."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import CODE, LAUNCH
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.digest import sha256_bytes
from cvbundle.files.durable import temporary_folder
from cvbundle.problems import UserError

BUNDLE = "CVBUNDLE_BUNDLE"
"""The environment variable with the bundle's folder, for a `launch.sh` that isn't in it."""


@contextmanager
def private_code(bundle: Bundle, sums: Mapping[str, str]) -> Iterator[Path]:
    """A folder that only this user can write, with a bundle's `launch.sh` and `code/`.

    It is in the cache, since temporary folders are cleaned while long runs still import modules.

    Args:
        bundle: the bundle.
        sums: path to digest of its files, as verified.

    Raises:
        UserError: a file has changed since it was verified.
    """
    with temporary_folder(cache_folder() / "code", "running") as folder:
        for name, digest in sums.items():
            if name == LAUNCH or name.startswith(f"{CODE}/"):
                _copy(bundle.folder / name, folder / name, digest)
        yield folder


def _copy(source: Path, target: Path, digest: str) -> None:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise UserError(f"{source} can't be read ({error.strerror})") from None
    if sha256_bytes(content) != digest:
        raise UserError(f"{source} changed after it was verified: run it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
