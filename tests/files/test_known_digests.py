"""A large file that did not change is hashed once, and one that did is never taken for it."""

import os
from pathlib import Path

import pytest

from cvbundle.files import known_digests
from cvbundle.files.digest import sha256_file
from cvbundle.files.known_digests import digest_of

FALSE = "ab" * 32
"""What a file's digest can't be: where it is returned, the file was not hashed."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file that was hashed long after it was written, and is known under a false digest."""
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_digests, "_SETTLED_NS", 0)
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))
    assert digest_of(path) == sha256_file(path)
    _falsify(tmp_path)
    assert digest_of(path) == FALSE
    return path


def _falsify(tmp_path: Path) -> None:
    (entry,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    digest, _, state = entry.read_text().partition(" ")
    assert digest
    entry.write_text(f"{FALSE} {state}")


def test_what_is_known_is_not_believed_where_that_is_asked_and_learnt_anew(file: Path) -> None:
    assert digest_of(file, rehash=True) == sha256_file(file)
    assert digest_of(file) == sha256_file(file)


def test_a_file_written_to_is_hashed_even_where_its_time_is_set_back(file: Path) -> None:
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


def test_a_file_that_was_just_written_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be written again, and its times would not tell."""
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights"
    path.write_bytes(b"x" * (1 << 20))
    assert digest_of(path) == sha256_file(path)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff" * 200, FALSE.encode()])
def test_a_broken_entry_costs_nothing_but_time(file: Path, tmp_path: Path, content: bytes) -> None:
    (entry,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    entry.write_bytes(content)
    assert digest_of(file) == sha256_file(file)


@pytest.mark.parametrize("cache", ["a file", "~nobody-of-this-name/cache"])
def test_a_cache_that_can_not_be_written_costs_nothing_but_time(
    cache: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVBUNDLE_CACHE", cache)
    assert digest_of(file) == sha256_file(file)
