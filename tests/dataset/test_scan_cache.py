"""Probe results are stored, and found while the file and the probe are unchanged."""

from pathlib import Path

import pytest

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.images import ImageFile
from cvbundle.dataset.probe import Facts, Probed
from cvbundle.dataset.probing import ProbeResult
from cvbundle.dataset.scan_cache import scan_cache
from cvbundle.files.identity import Identity

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
WAS = Identity(12, 1_700_000_000_123_456_789, 2**63 - 1, 1_700_000_000_234_567_890)

LATER = 1_800_000_000_000_000_000
"""When they were probed, long after they were written."""


@pytest.mark.parametrize(
    "seen",
    [CLIP, ImageFile("cd" * 32, 12), BadClip("clip-truncated", "is truncated")],
    ids=["clip", "image", "bad"],
)
def test_stored_results_are_found(tmp_path: Path, seen: ProbeResult) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/data/é\udcff.mp4", WAS, seen)], began=LATER)
    with scan_cache(1, tmp_path) as cache:
        found = cache.lookup({"/data/é\udcff.mp4": WAS, "/data/other.mp4": WAS})
    assert list(map(repr, found.values())) == [repr(seen)]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_changed_file_is_not_found(tmp_path: Path, place: int) -> None:
    other = Identity(*(value - (at == place) for at, value in enumerate(WAS)))
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, CLIP)], began=LATER)
        assert not cache.lookup({"/a.mp4": other})


def test_another_version_of_the_probe_finds_nothing(tmp_path: Path) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep([("/a.mp4", WAS, CLIP)], began=LATER)
    with scan_cache(2, tmp_path) as cache:
        assert not cache.lookup({"/a.mp4": WAS})


def test_a_disk_failure_is_not_cached(tmp_path: Path) -> None:
    with scan_cache(1, tmp_path) as cache:
        cache.keep(
            [("/a.mp4", WAS, BadClip("clip-unreadable", "can't be read", lasting=False))],
            began=LATER,
        )
        assert not cache.lookup({"/a.mp4": WAS})
