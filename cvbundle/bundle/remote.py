"""Archives on whatever fsspec reaches: `s3://bucket/name.tar.zst`, `sftp://…`, `gs://…`.

fsspec and the package of a protocol (s3fs, gcsfs, …) are an extra: `pip install cvbundle[remote]`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from cvbundle.durable import temporary_folder
from cvbundle.problems import UserError


def is_remote(name: str) -> bool:
    """Whether an archive's name is an address, not a path."""
    return "://" in name


@contextmanager
def open_archive(name: str) -> Iterator[BinaryIO]:
    """An archive to read from its beginning to its end, wherever it is.

    Raises:
        UserError: it can't be reached.
    """
    if not is_remote(name):
        with Path(name).open("rb") as file:
            yield file
        return
    system, path = _reach(name)
    with _told(name):
        remote = system.open(path, "rb")
    with remote:
        yield _Told(remote, name)  # type: ignore[misc]


@contextmanager
def upload(name: str) -> Iterator[Path]:
    """A file to fill on this machine; it goes to an address, whole, when the block ends well.

    Raises:
        UserError: it can't be put there.
    """
    system, path = _reach(name)
    with temporary_folder(Path(tempfile.gettempdir()), "cvbundle-upload") as folder:
        local = folder / "archive"
        yield local
        with _told(name):
            system.put_file(str(local), path)


class _Told:
    """A file from elsewhere whose troubles are told in a sentence."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def read(self, count: int) -> bytes:
        """At most so many bytes."""
        with _told(self._name):
            content: bytes = self._file.read(count)
        return content


def _reach(name: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f"{name} needs fsspec: pip install 'cvbundle[remote]'") from None
    with _told(name):
        system, path = url_to_fs(name)
    return system, path


@contextmanager
def _told(name: str) -> Iterator[None]:
    """The errors of file systems, in a sentence each.

    What is raised is each protocol's own: OSError mostly, ImportError and ValueError for a protocol
    that isn't there, and botocore's own for addresses and credentials.
    """
    try:
        yield
    except _errors() as error:
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines else type(error).__name__
        raise UserError(f"{name} can't be reached: {reason}") from None


def _errors() -> tuple[type[Exception], ...]:
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return OSError, ImportError, ValueError
    return OSError, ImportError, ValueError, BotoCoreError
