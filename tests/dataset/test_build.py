"""A manifest is written in one call, and an unchanged dataset is not scanned again."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvbundle.dataset import build
from cvbundle.dataset.build import write_dataset
from cvbundle.dataset.scan import scan
from cvbundle.dataset.writing import Summary
from cvbundle.spec.schema import Data
from tests.dataset.clips import make_clip
from tests.dataset.test_layouts import data_of
from tests.dataset.test_scan import dataset, numbered


class Made:
    """A dataset and its output files."""

    def __init__(self, tmp_path: Path, **fields: Any) -> None:
        self.root = tmp_path / "data"
        self.out = tmp_path / "out"
        self.cache = tmp_path / "cache"
        for folder in (self.root, self.out):
            folder.mkdir()
        self.dataset, self.skipped = self.out / "dataset.jsonl", self.out / "skipped.jsonl"
        clips = numbered(5) | {"bad.mp4": b"text"}
        _, self.data, _ = dataset(self.root, clips, bad_samples="skip", **fields)

    def write(self, data: Data | None = None, **options: Any) -> tuple[Summary, bytes, bytes]:
        summary = write_dataset(
            data or self.data,
            self.root,
            self.dataset,
            self.skipped,
            cache=self.cache,
            **options,
        )
        written = self.dataset.read_bytes(), self.skipped.read_bytes()
        self.dataset.unlink()
        self.skipped.unlink()
        return summary, *written


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of entries of each scan that is started."""
    begun: list[int] = []
    real = scan

    def counted(*args: Any, **options: Any) -> Any:
        begun.append(1)
        return real(*args, **options)

    monkeypatch.setattr(build, "scan", counted)
    return begun


def test_the_manifest_and_the_skipped_samples_are_written(made: Made) -> None:
    summary, written, skipped = made.write()
    assert (summary.samples, summary.skipped) == (5, 1)
    assert len(written.splitlines()) == 5
    assert b'"clip":"bad.mp4"' in skipped
    assert not summary.blocked


def test_an_unchanged_dataset_is_not_scanned_again(made: Made, scans: list[int]) -> None:
    first = made.write()
    assert made.write() == first
    assert len(scans) == 1


def test_an_unchanged_dataset_repeats_its_warnings(made: Made, scans: list[int]) -> None:
    (made.root / "prompts.txt").write_text("same\n" * 6)
    first, *_ = made.write()
    again, *_ = made.write()
    assert [problem.rule for problem in again.problems] == ["caption-duplicate"]
    assert again == first
    assert len(scans) == 1


def _touch(made: Made) -> None:
    os.utime(made.root / "3.mp4", ns=(0, 12345))


def _forbid(made: Made) -> None:
    (made.root / "3.mp4").chmod(0o400)


def _replace(made: Made) -> None:
    other = made.root / "other"
    other.write_bytes((made.root / "2.mp4").read_bytes())
    status = (made.root / "3.mp4").stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(made.root / "3.mp4")


def _caption(made: Made) -> None:
    path = made.root / "prompts.txt"
    path.write_text(path.read_text().replace("caption 3", "caption X"))


def _skipped_clip(made: Made) -> None:
    (made.root / "bad.mp4").write_bytes(b"other text")


def _broken_snapshot(made: Made) -> None:
    (stored,) = (made.cache / "manifests").iterdir()
    with (stored / "dataset.jsonl").open("r+b") as file:
        file.write(b"x")


def _half_a_snapshot(made: Made) -> None:
    (stored,) = (made.cache / "manifests").iterdir()
    (stored / "paths").unlink()


@pytest.mark.parametrize(
    "change",
    [_touch, _forbid, _replace, _caption, _skipped_clip, _broken_snapshot, _half_a_snapshot],
)
def test_any_change_causes_a_new_scan(
    made: Made, scans: list[int], change: Callable[[Made], None], tmp_path: Path
) -> None:
    made.write()
    change(made)
    again = made.write()
    assert len(scans) == 2
    made.cache = tmp_path / "another"
    assert made.write() == again


@pytest.mark.parametrize(
    "fields", [{"fit": "stretch"}, {"frame_sampling": "head"}, {"caption_prefix": "sks "}]
)
def test_other_settings_give_another_manifest(
    made: Made, scans: list[int], fields: dict[str, Any]
) -> None:
    made.write()
    made.write(data_of(bad_samples="skip", **fields))
    assert len(scans) == 2


def test_rehash_ignores_the_snapshot(made: Made, scans: list[int]) -> None:
    first = made.write()
    assert made.write(rehash=True) == first
    assert len(scans) == 2


def test_a_removed_clip_is_reported(made: Made) -> None:
    made.write()
    (made.root / "3.mp4").unlink()
    summary, *_ = made.write()
    assert [problem.rule for problem in summary.problems if problem.blocks] == ["clip-missing"]


def test_a_dataset_with_errors_is_scanned_each_time(made: Made, scans: list[int]) -> None:
    (made.root / "1.mp4").write_bytes(make_clip(3))
    for _ in range(2):
        summary, *_ = made.write()
        assert summary.blocked
    assert len(scans) == 2


def test_only_the_latest_snapshots_are_kept(made: Made) -> None:
    for prefix in "abcdefg":
        made.write(data_of(bad_samples="skip", caption_prefix=prefix))
    assert len(list((made.cache / "manifests").iterdir())) == 4


def test_captions_beside_clips_are_always_read(made: Made, scans: list[int]) -> None:
    for number in range(5):
        (made.root / f"{number}.txt").write_text(f"caption {number}")
    (made.root / "bad.txt").write_text("caption")
    data = data_of(bad_samples="skip", caption_column="*.txt")
    made.write(data)
    (made.root / "3.txt").write_text("another")
    _, written, _ = made.write(data)
    assert b'"caption":"another"' in written
    assert len(scans) == 2
