"""Archives at URLs supported by fsspec: `s3://bucket/name.tar.zst`, `sftp://…`, `gs://…`.

fsspec and the package of a protocol (s3fs, gcsfs, …) are an extra: `pip install cvbundle[remote]`.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from cvbundle.files.durable import temporary_folder
from cvbundle.problems import UserError


def is_remote(name: str) -> bool:
    """Whether an archive's name is a URL, not a path."""
    return "://" in name


@contextmanager
def open_archive(name: str) -> Iterator[BinaryIO]:
    """Open an archive at a path or URL for reading.

    Raises:
        UserError: it can't be read or reached.
    """
    if not is_remote(name):
        with ExitStack() as opened:
            try:
                file = opened.enter_context(Path(name).open("rb"))
            except OSError as error:
                raise UserError(
                    f"{name} can't be read ({error.strerror}): give an archive's path or URL"
                ) from None
            yield file
        return
    system, path = _reach(name)
    with _user_errors(name):
        remote = system.open(path, "rb")
    with remote:
        yield _RemoteFile(remote, name)  # type: ignore[misc]


@contextmanager
def upload(name: str) -> Iterator[Path]:
    """A local file to fill; it is uploaded to a URL when the block ends without an error.

    Raises:
        UserError: it can't be uploaded.
    """
    system, path = _reach(name)
    with temporary_folder(Path(tempfile.gettempdir()), "cvbundle-upload") as folder:
        local = folder / "archive"
        yield local
        with _user_errors(name):
            system.put_file(str(local), path)


class _RemoteFile:
    """A remote file whose read errors are raised as `UserError`."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name

    def read(self, count: int) -> bytes:
        """At most `count` bytes."""
        with _user_errors(self._name):
            content: bytes = self._file.read(count)
        return content


def _reach(name: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UserError(f"{name} needs fsspec: pip install 'cvbundle[remote]'") from None
    with _user_errors(name):
        system, path = url_to_fs(name)
    return system, path


@contextmanager
def _user_errors(name: str) -> Iterator[None]:
    """Raise the errors of remote file systems as `UserError`.

    They depend on the protocol: mostly OSError, ImportError and ValueError if the protocol isn't
    supported, and botocore's own for endpoints and credentials.
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
