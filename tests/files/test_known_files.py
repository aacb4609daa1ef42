"""What is known of files is stored, never served stale, and losing it costs only time."""

import sqlite3
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from cvbundle.files import identity
from cvbundle.files.identity import SETTLED_NS, FileList, Identity, identity_of
from cvbundle.files.known_files import NAME, known_files

WAS = Identity(12, 1_700_000_000_123_456_789, 2**63 - 1, 1_700_000_000_234_567_890)
LATER = WAS.status + SETTLED_NS


@pytest.fixture(autouse=True)
def _settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "SETTLED_NS", SETTLED_NS)


def test_a_value_is_found_by_what_it_is(tmp_path: Path) -> None:
    path = "/data/é\udcff.mp4"
    with known_files(tmp_path) as known:
        known.keep("sha256", [(path, WAS, "ab")], began=LATER)
        known.keep("probe", [(path, WAS, "{}")], began=LATER)
    with known_files(tmp_path) as known:
        assert known.lookup("sha256", {path: WAS, "/data/other.mp4": WAS}) == {path: "ab"}
        assert known.lookup("probe", {path: WAS}) == {path: "{}"}
        assert known.lookup("size", {path: WAS}) == {}


def test_another_version_finds_nothing_and_takes_its_place(tmp_path: Path) -> None:
    with known_files(tmp_path) as known:
        known.keep("probe", [("/a", WAS, "old")], began=LATER, version=1)
        assert known.lookup("probe", {"/a": WAS}, version=2) == {}
        known.keep("probe", [("/a", WAS, "new")], began=LATER, version=2)
        assert known.lookup("probe", {"/a": WAS}, version=2) == {"/a": "new"}
        assert known.lookup("probe", {"/a": WAS}, version=1) == {}


@pytest.mark.parametrize("place", range(4))
def test_a_changed_file_is_not_known(tmp_path: Path, place: int) -> None:
    other = Identity(*(value - (at == place) for at, value in enumerate(WAS)))
    with known_files(tmp_path) as known:
        known.keep("sha256", [("/a", WAS, "ab")], began=LATER)
        assert known.lookup("sha256", {"/a": other}) == {}


@pytest.mark.parametrize("latest", ["changed", "status"])
def test_a_file_that_was_just_written_is_not_stored(tmp_path: Path, latest: str) -> None:
    """It could be written again within the resolution of its times, which would not show it."""
    recent = WAS._replace(**{latest: LATER})
    with known_files(tmp_path) as known:
        known.keep("sha256", [("/a", recent, "ab")], began=LATER + SETTLED_NS - 1)
        assert known.lookup("sha256", {"/a": recent}) == {}
        known.keep("sha256", [("/a", recent, "ab")], began=LATER + SETTLED_NS)
        assert known.lookup("sha256", {"/a": recent}) == {"/a": "ab"}


def test_many_files_are_looked_up_at_once(tmp_path: Path) -> None:
    files = {f"/{number}": WAS for number in range(3000)}
    with known_files(tmp_path) as known:
        known.keep("sha256", [(path, WAS, path) for path in files], began=LATER)
        assert known.lookup("sha256", files) == {path: path for path in files}


@pytest.mark.parametrize("content", [b"rubbish" * 1000, b"", b"SQLite format 3\0" + b"x" * 5000])
def test_a_broken_store_is_recreated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    for _ in range(2):
        with known_files(tmp_path) as known:
            known.keep("sha256", [("/a", WAS, "ab")], began=LATER)
            assert known.lookup("sha256", {"/a": WAS}) == {"/a": "ab"}


def test_a_store_with_another_schema_is_not_used(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as other:
        other.execute("CREATE TABLE known (path BLOB)")
    other.close()
    with known_files(tmp_path) as known:
        known.keep("sha256", [("/a", WAS, "ab")], began=LATER)
        assert known.lookup("sha256", {"/a": WAS}) == {}


def test_a_folder_that_cannot_be_created_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with known_files(tmp_path / "file" / "cache") as known:
        known.keep("sha256", [("/a", WAS, "ab")], began=LATER)
        assert known.lookup("sha256", {"/a": WAS}) == {}


def test_a_python_without_sqlite_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with known_files(tmp_path) as known:
        known.keep("sha256", [("/a", WAS, "ab")], began=LATER)
        assert known.lookup("sha256", {"/a": WAS}) == {}


def test_the_store_is_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "mine"))
    with known_files():
        assert (tmp_path / "mine" / NAME).is_file()


def _keep_many(folder: Path, first: int) -> None:
    with known_files(folder) as known:
        for number in range(first, first + 50):
            known.keep("sha256", [(f"/{number}", WAS, "ab")], began=LATER)


def test_processes_share_one_store(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("forkserver")) as processes:
        list(processes.map(_keep_many, [tmp_path] * 3, [0, 40, 80]))
    with known_files(tmp_path) as known:
        assert len(known.lookup("sha256", {f"/{number}": WAS for number in range(130)})) == 130


def test_threads_share_one_store(tmp_path: Path) -> None:
    with known_files(tmp_path) as known, ThreadPoolExecutor(4) as threads:

        def keep(number: int) -> dict[str, str]:
            known.keep("sha256", [(f"/{number}", WAS, "ab")], began=LATER)
            return known.lookup("sha256", {f"/{number}": WAS})

        assert list(threads.map(keep, range(40))) == [{f"/{n}": "ab"} for n in range(40)]


def test_a_list_of_files_shows_any_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    files = FileList()
    files.add(str(path), identity_of(path.stat()))
    again = FileList(*files.packed())
    assert again.are_unchanged()
    for place, value in enumerate(identity_of(path.stat())):
        changed = list(identity_of(path.stat()))
        changed[place] = value + 1
        other = FileList()
        other.add(str(path), Identity(*changed))
        assert not other.are_unchanged()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        again.are_unchanged()


def test_a_list_is_settled_once_its_latest_file_is() -> None:
    files = FileList()
    files.add("/a", WAS._replace(status=LATER))
    files.add("/b", WAS)
    assert not files.are_settled(LATER + SETTLED_NS - 1)
    assert files.are_settled(LATER + SETTLED_NS)
