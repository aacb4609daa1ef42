"""Probe results are cached, never served stale, and losing the cache costs only time."""

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.probe import Facts, Probed
from cvbundle.dataset.probing import ProbeResult
from cvbundle.dataset.rules import CLIP_TRUNCATED, CLIP_UNREADABLE
from cvbundle.dataset.scan_cache import scan_cache

FACTS = Facts(
    codec="h264",
    frames=9,
    fps="30000/1001",
    duration=0.3003,
    height=64,
    width=96,
    rotation=270,
    mirrored=True,
    variable=False,
    suspicion="",
)
CLIP = Probed("ab" * 32, 12, FACTS)
WAS = (12, 1_700_000_000_123_456_789, 2**63 - 1, 1_700_000_000_234_567_890)


@pytest.mark.parametrize(
    "seen",
    [CLIP, ImageFile("cd" * 32, 12), BadClip(CLIP_TRUNCATED, "is truncated")],
    ids=["clip", "image", "bad"],
)
def test_stored_results_are_found(tmp_path: Path, seen: ProbeResult) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/data/é\udcff.mp4", WAS, seen)])
    with scan_cache(1, tmp_path) as cache:
        found = cache.lookup({"/data/é\udcff.mp4": WAS, "/data/other.mp4": WAS})
    assert list(map(repr, found.values())) == [repr(seen)]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_changed_file_is_not_found(tmp_path: Path, place: int) -> None:
    other = tuple(value - (at == place) for at, value in enumerate(WAS))
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, CLIP)])
        assert not cache.lookup({"/a.mp4": (other[0], other[1], other[2], other[3])})


def test_another_version_of_the_probe_finds_nothing(tmp_path: Path) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, CLIP)])
    with scan_cache(2, tmp_path) as cache:
        assert not cache.lookup({"/a.mp4": WAS})


def test_a_disk_failure_is_not_cached(tmp_path: Path) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, BadClip(CLIP_UNREADABLE, "can't be read", lasting=False))])
        assert not cache.lookup({"/a.mp4": WAS})


def test_many_files_are_looked_up_at_once(tmp_path: Path) -> None:
    files = {f"/{number}.mp4": WAS for number in range(3000)}
    with scan_cache(1, tmp_path) as cache:
        cache.keep((path, WAS, CLIP) for path in files)
        assert len(cache.lookup(files)) == 3000


@pytest.mark.parametrize("content", [b"rubbish" * 1000, b"", b"SQLite format 3\0" + b"x" * 5000])
def test_a_broken_cache_is_recreated(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scan.sqlite").write_bytes(content)
    for _ in range(2):
        with scan_cache(1, tmp_path) as cache:
            cache.keep([("/a.mp4", WAS, CLIP)])
            assert cache.lookup({"/a.mp4": WAS}) == {"/a.mp4": CLIP}


def test_a_cache_with_another_schema_is_recreated(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "scan.sqlite") as other:
        other.execute("CREATE TABLE files (path BLOB)")
    other.close()
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, CLIP)])
    with scan_cache(1, tmp_path) as cache:
        assert cache.lookup({"/a.mp4": WAS})


def test_a_cache_folder_that_cannot_be_created_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with scan_cache(1, tmp_path / "file" / "cache") as cache:
        cache.keep([("/a.mp4", WAS, CLIP)])
        assert cache.lookup({"/a.mp4": WAS}) == {"/a.mp4": CLIP}


def test_the_cache_is_in_the_users_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "mine"))
    with scan_cache(1):
        assert (tmp_path / "mine" / "scan.sqlite").is_file()


def _keep_many(folder: Path, first: int) -> None:
    with scan_cache(1, folder) as cache:
        for number in range(first, first + 200):
            cache.keep([(f"/{number}.mp4", WAS, CLIP)])


def test_processes_share_one_cache(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, get_context("forkserver")) as processes:
        list(processes.map(_keep_many, [tmp_path] * 3, [0, 150, 300]))
    with scan_cache(1, tmp_path) as cache:
        assert len(cache.lookup({f"/{number}.mp4": WAS for number in range(500)})) == 500
