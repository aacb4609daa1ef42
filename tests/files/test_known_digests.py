"""A large file that did not change is hashed once, and one that did is never taken for it."""

import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cvbundle.files import identity
from cvbundle.files.digest import sha256_file
from cvbundle.files.known_digests import known_digests
from cvbundle.files.known_files import NAME

FALSE = "ab" * 32
"""What a file's digest can't be: where it is returned, the file was not hashed."""


def digest_of(path: Path, *, rehash: bool = False) -> str:
    with known_digests(rehash=rehash) as digest:
        return digest(path)


def stored(cache: Path) -> list[str]:
    """All digests in the store."""
    with sqlite3.connect(cache / NAME) as database:
        rows = database.execute("SELECT value FROM known").fetchall()
    database.close()
    return [value for (value,) in rows]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder."""
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path, cache: Path) -> Path:
    """A large file that is known under a false digest."""
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))
    assert digest_of(path) == sha256_file(path)
    with sqlite3.connect(cache / NAME) as database:
        database.execute("UPDATE known SET value = ?", [FALSE])
    database.close()
    assert digest_of(path) == FALSE
    return path


def test_a_stored_digest_is_replaced_on_request(file: Path) -> None:
    assert digest_of(file, rehash=True) == sha256_file(file)
    assert digest_of(file) == sha256_file(file)


def test_a_file_written_to_is_hashed_even_if_its_time_is_set_back(file: Path) -> None:
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"y")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest_of(file) == sha256_file(file)


def test_another_file_in_its_place_is_hashed(file: Path) -> None:
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"y" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert digest_of(file) == sha256_file(file)


def test_a_longer_file_is_hashed(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"y")
    assert digest_of(file) == sha256_file(file)


def test_a_link_is_known_as_what_it_leads_to(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert digest_of(link) == FALSE


def test_a_file_that_was_just_written_is_not_stored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be written again, and its times would not show it."""
    monkeypatch.setattr(identity, "SETTLED_NS", 2_000_000_000)
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))
    assert digest_of(path) == sha256_file(path)
    assert stored(cache) == []


def test_a_file_that_changes_while_it_is_hashed_is_not_stored(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))

    def file_digest(file: Any, name: str) -> Any:
        digest = hashlib.new(name, file.read())
        with path.open("ab") as opened:
            opened.write(b"y")
        return digest

    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", file_digest)
        digest_of(path)
    assert stored(cache) == []
    assert digest_of(path) == sha256_file(path)
    assert stored(cache) == [sha256_file(path)]


@pytest.mark.parametrize("folder", ["a file", "~nobody-of-this-name/cache"])
def test_a_cache_that_can_not_be_written_costs_nothing_but_time(
    folder: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVBUNDLE_CACHE", folder)
    assert digest_of(file) == sha256_file(file)
