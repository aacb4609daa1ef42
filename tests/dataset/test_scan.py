"""Every clip is opened once, and rows are in the dataset's order."""

import os
import shutil
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from cvbundle.dataset import probing
from cvbundle.dataset.entries import Entry
from cvbundle.dataset.frames import Crop
from cvbundle.dataset.listing import list_entries
from cvbundle.dataset.manifest import Sample, Skipped
from cvbundle.dataset.probe import PROBE_VERSION
from cvbundle.dataset.progress import NoProgress
from cvbundle.dataset.scan import Row, scan
from cvbundle.dataset.scan_cache import ScanCache, scan_cache
from cvbundle.dataset.workers import workers
from cvbundle.files.digest import sha256_file
from cvbundle.problems import Problem, Severity, UserError
from cvbundle.rules.every import all_rules
from cvbundle.spec.schema import Data
from tests.dataset.clips import make_clip, make_sound, with_matrix
from tests.dataset.test_layouts import data_of
from tests.dataset.test_probe import png, zeroed

Dataset = tuple[Sequence[Entry], Data, Path]


def dataset(root: Path, clips: dict[str, bytes], **fields: Any) -> Dataset:
    """A dataset of these clips, listed in this order."""
    for name, content in clips.items():
        (root / name).write_bytes(content)
    (root / "videos.txt").write_text("\n".join(clips))
    (root / "prompts.txt").write_text("\n".join(f"caption {n}" for n in range(len(clips))))
    data = data_of(**fields)
    return list_entries(data, root).entries, data, root


def numbered(count: int) -> dict[str, bytes]:
    """Clips that differ only in an insignificant byte."""
    clip = make_clip()
    return {f"{n}.mp4": clip + b"rubbish" + bytes([n]) for n in range(count)}


def samples(rows: Sequence[Row]) -> list[Sample]:
    return [row for row in rows if isinstance(row, Sample)]


def problems(rows: Sequence[Row]) -> list[Problem]:
    return [row for row in rows if isinstance(row, Problem)]


def children() -> set[str]:
    """The process numbers of this process's children that are alive: proc(5)."""
    lists = Path("/proc/self/task").glob("*/children")
    return {number for path in lists for number in path.read_text().split()}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ScanCache]:
    with scan_cache(PROBE_VERSION, tmp_path / "cache") as opened:
        yield opened


class Counting(Executor):
    """Opens clips on request, and counts the files."""

    def __init__(self, limit: int = 10**9) -> None:
        self.files = 0
        self.limit = limit

    def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.files >= self.limit:
            future.set_exception(KeyboardInterrupt())
            return future
        self.files += len(args[0].files)
        future.set_result(call(*args, **kwargs))
        return future


def test_a_clip_becomes_a_complete_sample(tmp_path: Path) -> None:
    content = make_clip(12, height=128, width=160)
    entries, data, root = dataset(tmp_path, {"a b.mp4": content})
    assert list(scan(entries, data, root)) == [
        Sample(
            clip="a b.mp4",
            digest=sha256_file(tmp_path / "a b.mp4"),
            size=len(content),
            codec="h264",
            frames=12,
            fps="8",
            duration=1.5,
            height=128,
            width=160,
            rotation=0,
            mirrored=False,
            variable=False,
            chosen=(0, 1, 3, 4, 6, 7, 8, 10, 11),
            crop=Crop(10, 0, 107, 160),
            caption="caption 0",
        )
    ]


def test_all_bad_clips_are_reported_in_order(tmp_path: Path) -> None:
    clip = make_clip()
    clips = {
        "text.mp4": b"text",
        "good.mp4": clip,
        "cut.mp4": clip[:-100],
        "empty.mp4": b"",
        "sound.mp4": make_sound(),
        "zeros.mp4": zeroed(0.2, 64),
        "short.mp4": make_clip(3),
    }
    rows = list(scan(*dataset(tmp_path, clips)))
    assert [(row.rule, row.place.line) for row in problems(rows) if row.blocks] == [
        ("clip-unreadable", 1),
        ("clip-truncated", 3),
        ("clip-unreadable", 4),
        ("clip-unreadable", 5),
        ("clip-unreadable", 6),
        ("clip-short", 7),
    ]
    assert [sample.clip for sample in samples(rows)] == ["good.mp4"]
    assert problems(rows)[-1].message == "short.mp4 has 3 frames, 9 are needed"


def test_bad_clips_are_skipped_if_the_spec_allows_it(tmp_path: Path) -> None:
    clips = {"text.mp4": b"text", "good.mp4": make_clip(), "short.mp4": make_clip(3)}
    rows = list(scan(*dataset(tmp_path, clips, bad_samples="skip", short_clips="skip")))
    assert [row for row in rows if not isinstance(row, Sample)] == [
        Skipped(
            number=1,
            clip="text.mp4",
            rule="clip-unreadable",
            reason="is not a video file (mp4, mov, mkv, webm, avi, gif)",
        ),
        Skipped(number=3, clip="short.mp4", rule="clip-short", reason="has 3 frames, 9 are needed"),
    ]


def test_a_short_clip_is_padded_if_the_spec_allows_it(tmp_path: Path) -> None:
    clips = {"short.mp4": make_clip(3)}
    (row,) = scan(*dataset(tmp_path, clips, short_clips="repeat_last"))
    assert isinstance(row, Sample)
    assert row.chosen == (0, 1, 2, 2, 2, 2, 2, 2, 2)


def test_clips_are_compared_with_those_before_them(tmp_path: Path) -> None:
    clip = make_clip()
    clips = {
        "one.mp4": clip,
        "two.mp4": clip,
        "small.mp4": make_clip(height=32, width=48),
        "tall.mp4": make_clip(height=256, width=96),
        "fast.mp4": make_clip(rate=30),
        "faster.mp4": make_clip(rate=60),
    }
    rows = list(scan(*dataset(tmp_path, clips)))
    assert [(row.rule, row.message) for row in problems(rows)] == [
        ("clip-duplicate", "two.mp4 is the same file as one.mp4, entry 1"),
        ("clip-upscaled", "small.mp4 is 32x48: 32x48 of it is upscaled to 64x96"),
        ("clip-aspect", "tall.mp4 is 256x96: half of it or more is cropped away for 64x96"),
        ("clip-fps", "fast.mp4 has 30 frames a second, those before it 8"),
    ]
    assert len(samples(rows)) == 6
    assert not any(row.blocks for row in problems(rows))


def test_a_clip_with_unreported_damage_is_a_sample_with_a_warning(tmp_path: Path) -> None:
    warning, sample = scan(*dataset(tmp_path, {"a.mp4": zeroed(83 / 200, 40)}))
    assert isinstance(warning, Problem)
    assert warning.rule == "clip-damaged"
    assert isinstance(sample, Sample)


def test_every_warning_can_be_looked_up_and_allowed() -> None:
    named = ["clip-damaged", "clip-fps", "caption-duplicate", "names-shifted", "caption-empty"]
    rules = all_rules()
    assert all(rules[name].severity is Severity.WARNING for name in named)


def test_a_rotated_clip_is_cropped_as_displayed(tmp_path: Path) -> None:
    clips = {"a.mp4": with_matrix(make_clip(height=96, width=64), (0, 1, -1, 0))}
    (row,) = scan(*dataset(tmp_path, clips))
    assert isinstance(row, Sample)
    assert (row.height, row.width, row.rotation) == (64, 96, 270)
    assert row.crop == Crop(0, 0, 64, 96)


def test_images_are_read_and_bad_ones_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png()[:-50])
    (tmp_path / "images.txt").write_text("a.png\nb.png")
    clip = make_clip()
    entries = dataset(tmp_path, {"a.mp4": clip, "b.mp4": clip + b"x"}, image_column="images.txt")
    sample, problem = scan(*entries)
    assert isinstance(sample, Sample)
    assert sample.image is not None
    assert (sample.image.path, sample.image.digest) == ("a.png", sha256_file(tmp_path / "a.png"))
    assert isinstance(problem, Problem)
    assert problem.message == "b.png is not an image that can be decoded"


def test_the_rows_do_not_depend_on_where_clips_are_opened(tmp_path: Path) -> None:
    entries = dataset(tmp_path, numbered(40))
    expected = list(scan(*entries, prober=Counting()))
    assert [sample.clip for sample in samples(expected)] == [f"{n}.mp4" for n in range(40)]
    assert list(scan(*entries)) == expected


def test_no_worker_is_started_for_cached_clips(tmp_path: Path, cache: ScanCache) -> None:
    entries = dataset(tmp_path, numbered(3))
    list(scan(*entries, prober=Counting(), cache=cache))
    before = children()
    with workers(2) as pool:
        assert len(samples(list(scan(*entries, prober=pool, cache=cache)))) == 3
        assert children() <= before


def test_workers_end_with_the_scan_even_if_it_is_abandoned(tmp_path: Path) -> None:
    before = children()
    rows = scan(*dataset(tmp_path, numbered(3)))
    next(rows)
    assert children() - before
    assert isinstance(rows, Generator)
    rows.close()
    assert children() <= before


def test_unchanged_clips_are_not_opened_again(tmp_path: Path, cache: ScanCache) -> None:
    clips = {**numbered(20), "bad.mp4": b"text", "rotated.mp4": zeroed(0.5, 0)}
    entries = dataset(tmp_path, clips)
    first, second = Counting(), Counting()
    rows = list(scan(*entries, prober=first, cache=cache))
    assert list(scan(*entries, prober=second, cache=cache)) == rows
    assert (first.files, second.files) == (22, 0)


def test_a_changed_clip_is_opened_again(tmp_path: Path, cache: ScanCache) -> None:
    entries = dataset(tmp_path, numbered(3))
    list(scan(*entries, cache=cache))
    path = tmp_path / "1.mp4"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    again = Counting()
    rows = list(scan(*entries, prober=again, cache=cache))
    assert again.files == 1
    assert samples(rows)[1].digest == sha256_file(path)


def test_a_clip_whose_permissions_changed_is_opened_again(tmp_path: Path, cache: ScanCache) -> None:
    """It may have become unreadable, although not to root, who runs this test."""
    entries = dataset(tmp_path, numbered(2))
    rows = list(scan(*entries, cache=cache))
    (tmp_path / "1.mp4").chmod(0o400)
    again = Counting()
    assert list(scan(*entries, prober=again, cache=cache)) == rows
    assert again.files == 1


def test_a_clip_replaced_by_one_of_the_same_size_and_time_is_opened_again(
    tmp_path: Path, cache: ScanCache
) -> None:
    entries = dataset(tmp_path, numbered(2))
    list(scan(*entries, cache=cache))
    path = tmp_path / "1.mp4"
    status = path.stat()
    other = tmp_path / "other.mp4"
    shutil.copy(tmp_path / "0.mp4", other)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    again = Counting()
    list(scan(*entries, prober=again, cache=cache))
    assert again.files == 1


def test_rehash_opens_every_clip_again(tmp_path: Path, cache: ScanCache) -> None:
    entries = dataset(tmp_path, numbered(3))
    list(scan(*entries, cache=cache))
    again = Counting()
    list(scan(*entries, prober=again, cache=cache, rehash=True))
    assert again.files == 3


def test_an_interrupted_scan_keeps_its_results(tmp_path: Path, cache: ScanCache) -> None:
    entries = dataset(tmp_path, numbered(60))
    with pytest.raises(KeyboardInterrupt):
        list(scan(*entries, prober=Counting(limit=40), cache=cache))
    again = Counting()
    assert len(samples(list(scan(*entries, prober=again, cache=cache)))) == 60
    assert again.files == 20


def test_ctrl_c_keeps_the_results_of_the_threads(tmp_path: Path, cache: ScanCache) -> None:
    class Interrupting(NoProgress):
        def advance(self, files: int, size: int) -> None:
            if files:
                signal.raise_signal(signal.SIGINT)

    entries = dataset(tmp_path, numbered(60))
    with pytest.raises(KeyboardInterrupt):
        list(scan(*entries, cache=cache, progress=Interrupting()))
    again = Counting()
    assert len(samples(list(scan(*entries, prober=again, cache=cache)))) == 60
    assert again.files <= 60 - 8


def test_an_abandoned_iterator_keeps_its_results(tmp_path: Path, cache: ScanCache) -> None:
    entries = dataset(tmp_path, numbered(20))
    rows = scan(*entries, prober=Counting(), cache=cache)
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    again = Counting()
    list(scan(*entries, prober=again, cache=cache))
    assert again.files == 0


def test_a_clip_that_changes_during_the_scan_is_an_error_and_not_cached(
    tmp_path: Path, cache: ScanCache
) -> None:
    entries = dataset(tmp_path, numbered(2))

    class Changing(Counting):
        def submit(self, call: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
            (tmp_path / "1.mp4").write_bytes(make_clip(10))
            return super().submit(call, *args, **kwargs)

    _, problem = scan(*entries, prober=Changing(), cache=cache)
    assert isinstance(problem, Problem)
    assert problem.message == "1.mp4 changed during the scan"
    assert len(samples(list(scan(*entries, cache=cache)))) == 2


def test_a_temporary_failure_is_never_skipped(tmp_path: Path) -> None:
    entries = dataset(tmp_path, numbered(1), bad_samples="skip")
    (tmp_path / "0.mp4").unlink()
    (problem,) = scan(*entries)
    assert isinstance(problem, Problem)
    assert problem.blocks


def test_a_clip_that_vanishes_before_it_is_opened_is_reported(tmp_path: Path) -> None:
    entries = dataset(tmp_path, numbered(2))
    (tmp_path / "0.mp4").unlink()
    problem, _ = scan(*entries)
    assert isinstance(problem, Problem)
    assert problem.message == "0.mp4 can't be read (No such file or directory)"


def test_progress_counts_every_file_and_byte(tmp_path: Path, cache: ScanCache) -> None:
    class Ears:
        def __init__(self) -> None:
            self.said: list[tuple[int, int]] = []
            self.total = self.ends = 0

        def begin(self, files: int) -> None:
            self.total = files

        def advance(self, files: int, size: int) -> None:
            self.said.append((files, size))

        def end(self) -> None:
            self.ends += 1

    entries = dataset(tmp_path, numbered(20))
    sizes = sum((tmp_path / f"{n}.mp4").stat().st_size for n in range(20))
    for _ in ("cold", "warm"):
        ears = Ears()
        list(scan(*entries, cache=cache, progress=ears))
        assert ears.total == 20
        assert tuple(map(sum, zip(*ears.said, strict=True))) == (20, sizes)
        assert ears.ends == 1


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = dataset(tmp_path, numbered(1))
    monkeypatch.setattr(probing, "PROBE_VERSION", PROBE_VERSION + 1)
    with pytest.raises(UserError, match="the same cvbundle on all machines"):
        list(scan(*entries, prober=Counting()))
