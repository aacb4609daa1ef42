"""A dataset's lists are read in every layout."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.listing import Listing, list_entries
from cvbundle.dataset.texts import Texts
from cvbundle.spec.schema import Data, Resolution

CLIPS = ["videos/a.mp4", "videos/b c.mp4", "videos/é日.mp4"]
CAPTIONS = ["A horse runs.", "A cat, “asleep”.", "Zwei Züge."]


def data_of(**fields: Any) -> Data:
    """The data section of a spec."""
    defaults: dict[str, Any] = {
        "root": "data",
        "caption_column": "prompts.txt",
        "video_column": "videos.txt",
        "resolution": Resolution(9, 64, 96),
    }
    return Data(**(defaults | fields))


def touch(root: Path, names: Iterable[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of three clips without lists."""
    touch(tmp_path, CLIPS)
    return tmp_path


def lists(root: Path, videos: str | bytes, prompts: str | bytes) -> Listing:
    """The entries of two text files."""
    for name, content in (("videos.txt", videos), ("prompts.txt", prompts)):
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list_entries(data_of(), root)


def rules(listing: Listing) -> list[str]:
    return [problem.rule for problem in listing.problems]


def pairs(listing: Listing) -> list[tuple[str, str]]:
    return [(entry.clip, entry.caption) for entry in listing.entries]


PAIRS = list(zip(CLIPS, CAPTIONS, strict=True))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_two_text_files_with_any_line_ending(root: Path, end: str, last: bool, mark: bytes) -> None:
    videos, prompts = (
        mark + (end.join(lines) + (end if last else "")).encode() for lines in (CLIPS, CAPTIONS)
    )
    listing = lists(root, videos, prompts)
    assert pairs(listing) == PAIRS
    assert not listing.problems
    assert [entry.number for entry in listing.entries] == [1, 2, 3]


def _csv(root: Path) -> Data:
    rows = ['"A horse runs."', '"A cat, “asleep”."', "Zwei Züge."]
    lines = [f"{n},{clip},{row}" for n, (clip, row) in enumerate(zip(CLIPS, rows, strict=True))]
    (root / "list.csv").write_text("\n".join(["id,file,text", *lines]), "utf-8-sig")
    return data_of(metadata="list.csv", video_column="file", caption_column="text")


def _tsv(root: Path) -> Data:
    lines = [f"{caption}\t{clip}" for clip, caption in PAIRS]
    (root / "list.TSV").write_bytes("\r\n".join(["text\tfile", *lines, ""]).encode())
    return data_of(metadata="list.TSV", video_column="file", caption_column="text")


def _jsonl(root: Path) -> Data:
    lines = [json.dumps({"file": clip, "text": caption, "x": 1}) for clip, caption in PAIRS]
    (root / "list.jsonl").write_text("\n".join(lines), "utf-8")
    return data_of(metadata="list.jsonl", video_column="file", caption_column="text")


def _parquet(root: Path) -> Data:
    table = pyarrow.table({"text": CAPTIONS, "file": CLIPS, "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, root / "list.parquet")
    return data_of(metadata="list.parquet", video_column="file", caption_column="text")


def _beside(root: Path) -> Data:
    (root / "videos.txt").write_text("\n".join(CLIPS), "utf-8")
    for clip, caption in PAIRS:
        (root / clip).with_suffix(".txt").write_text(caption + "\n", "utf-8")
    return data_of(caption_column="*.txt")


def _pattern(root: Path) -> Data:
    data = _beside(root)
    (root / "videos.txt").unlink()
    return data_of(caption_column=data.caption_column, video_column="videos/*.mp4")


@pytest.mark.parametrize("write", [_csv, _tsv, _jsonl, _parquet, _beside, _pattern])
def test_every_layout_gives_the_same_entries(root: Path, write: Callable[[Path], Data]) -> None:
    listing = list_entries(write(root), root)
    assert pairs(listing) == PAIRS
    assert not listing.problems


def test_a_blank_line_is_an_empty_entry_with_its_number(root: Path) -> None:
    listing = lists(root, "\n".join(CLIPS), "A horse runs.\n\nZwei Züge.\n")
    assert pairs(listing) == [(CLIPS[0], CAPTIONS[0]), (CLIPS[1], ""), (CLIPS[2], CAPTIONS[2])]
    (problem,) = listing.problems
    assert (problem.rule, problem.place.line) == ("caption-empty", 2)


def test_a_blank_line_among_the_clips_is_reported_and_shifts_nothing(root: Path) -> None:
    listing = lists(root, f"{CLIPS[0]}\n\n{CLIPS[2]}\n", "one\ntwo\nthree\n")
    assert pairs(listing) == [(CLIPS[0], "one"), (CLIPS[2], "three")]
    assert [entry.number for entry in listing.entries] == [1, 3]
    assert listing.problems[0].message == "line 2 names no clip"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_blank_line_in_a_table_is_an_empty_entry(root: Path, kind: str) -> None:
    lines = {
        "csv": ["file,text", "videos/a.mp4,one", "", "videos/b c.mp4,two"],
        "jsonl": [
            '{"file": "videos/a.mp4", "text": "one"}',
            "",
            '{"file": "videos/b c.mp4", "text": "two"}',
        ],
    }
    (root / f"list.{kind}").write_text("\n".join(lines[kind]))
    data = data_of(metadata=f"list.{kind}", video_column="file", caption_column="text")
    listing = list_entries(data, root)
    assert [entry.number for entry in listing.entries] == [1, 3]
    assert rules(listing) == ["clip-missing", "caption-empty"]


def test_a_csv_row_is_reported_at_its_first_line(root: Path) -> None:
    (root / "list.csv").write_text('file,text\nvideos/a.mp4,"two\nlines"\ngone.mp4,x\n')
    data = data_of(metadata="list.csv", video_column="file", caption_column="text")
    (problem,) = list_entries(data, root).problems
    assert (problem.rule, problem.place.line) == ("clip-missing", 4)


def test_lists_of_different_lengths_are_reported_and_clips_still_checked(root: Path) -> None:
    listing = lists(root, "\n".join([*CLIPS, "videos/gone.mp4"]), "\n".join(CAPTIONS))
    assert rules(listing) == ["caption-count", "clip-missing"]
    first = listing.problems[0]
    assert first.message == "4 clips in videos.txt, 3 captions in prompts.txt"
    assert (first.place.file, first.place.line) == (str(root / "videos.txt"), 4)
    assert len(listing.entries) == 3


def test_extra_captions_are_reported_at_the_first_of_them(root: Path) -> None:
    listing = lists(root, "\n".join(CLIPS), "\n".join([*CAPTIONS, "more"]))
    assert listing.problems[0].place.file == str(root / "prompts.txt")
    assert listing.problems[0].place.line == 4


def test_every_missing_clip_is_reported(root: Path) -> None:
    names = ["x.mp4", CLIPS[0], "y.mp4", "videos", "nul\0.mp4", "a" * 300]
    listing = lists(root, "\n".join(names), "\n".join("abcdef"))
    assert rules(listing) == ["clip-missing"] * 5
    assert [entry.clip for entry in listing.entries] == [CLIPS[0]]


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.mp4", "videos/../../outside.mp4"])
def test_a_path_out_of_the_dataset_is_refused(root: Path, name: str) -> None:
    (root.parent / "outside.mp4").touch()
    listing = lists(root, name, "one")
    assert "is outside the dataset" in listing.problems[0].message


def test_links_are_followed_inside_the_root_and_refused_outside(root: Path) -> None:
    outside = root.parent / f"{root.name}-outside"
    touch(outside, ["clip.mp4"])
    (root / "inner.mp4").symlink_to("videos/a.mp4")
    (root / "inner").symlink_to("videos")
    (root / "outer.mp4").symlink_to(outside / "clip.mp4")
    (root / "outer").symlink_to(outside)
    (root / "loop.mp4").symlink_to("loop.mp4")
    names = ["inner.mp4", "inner/a.mp4", "outer.mp4", "outer/clip.mp4", "loop.mp4"]
    listing = lists(root, "\n".join(names), "\n".join("abcde"))
    assert [entry.clip for entry in listing.entries] == ["inner.mp4", "inner/a.mp4"]
    assert [problem.message for problem in listing.problems] == [
        "outer.mp4 is a symlink out of the dataset",
        "outer/clip.mp4 is a symlink out of the dataset",
        "loop.mp4 doesn't exist",
    ]


def test_a_path_cannot_leave_a_root_that_is_a_symlink(root: Path) -> None:
    link = root.parent / f"{root.name}-link"
    link.symlink_to(root)
    (root / "videos.txt").write_text(CLIPS[0])
    (root / "prompts.txt").write_text("one")
    assert len(list_entries(data_of(), link).entries) == 1


def test_a_name_in_another_unicode_form_is_explained(root: Path) -> None:
    listing = lists(root, "videos/e\u0301日.mp4", "one")
    assert "Unicode form NFC" in listing.problems[0].hint


def test_a_duplicate_caption_is_reported_once(root: Path) -> None:
    listing = lists(root, "\n".join(CLIPS), "same\nsame\nsame")
    (problem,) = listing.problems
    assert problem.rule == "caption-duplicate"
    assert problem.place.line == 2
    assert problem.message == ("videos/b c.mp4 has the same caption as videos/a.mp4 and 1 more")


def test_a_caption_that_is_too_long_with_its_prefix_is_reported(root: Path) -> None:
    (root / "videos.txt").write_text("\n".join(CLIPS), "utf-8")
    (root / "prompts.txt").write_text("one two three\none two\nünö", "utf-8")
    limit = TokenLimit(4, lambda texts: [len(text.split()) + 1 for text in texts], "digest")
    listing = list_entries(data_of(caption_prefix="sks "), root, limit=limit)
    (problem,) = listing.problems
    assert (problem.rule, problem.place.line) == ("caption-too-long", 1)
    assert problem.message == "the caption of videos/a.mp4 has 5 tokens, more than 4"


def test_an_estimated_length_is_marked_as_such(root: Path) -> None:
    (root / "videos.txt").write_text(CLIPS[0])
    (root / "prompts.txt").write_text("a rather long caption")
    limit = TokenLimit(5, lambda texts: [9 for _ in texts])
    (problem,) = list_entries(data_of(), root, limit=limit).problems
    assert "has about 9 tokens (estimated" in problem.message


def test_captions_missing_beside_their_clips_are_reported(root: Path) -> None:
    data = _beside(root)
    (root / "videos/a.txt").unlink()
    (root / "videos/b c.txt").write_bytes(b"\xff")
    listing = list_entries(data, root)
    assert rules(listing) == ["caption-count", "caption-count"]
    assert "videos/a.txt, can't be read" in listing.problems[0].message
    assert "not UTF-8" in listing.problems[1].message


def test_the_lines_of_a_caption_beside_a_clip_are_joined(root: Path) -> None:
    data = _beside(root)
    (root / "videos/a.txt").write_text("One\ntwo.\n")
    assert list_entries(data, root).entries[0].caption == "One two."


def test_images_are_listed_beside_their_clips(root: Path) -> None:
    touch(root, ["images/a.png", "images/b c.png"])
    (root / "images.txt").write_text("images/a.png\nimages/b c.png\nimages/gone.png")
    (root / "videos.txt").write_text("\n".join(CLIPS), "utf-8")
    (root / "prompts.txt").write_text("\n".join(CAPTIONS), "utf-8")
    listing = list_entries(data_of(image_column="images.txt"), root)
    assert [entry.image for entry in listing.entries] == ["images/a.png", "images/b c.png"]
    (problem,) = listing.problems
    assert problem.message == "images/gone.png doesn't exist"
    assert problem.place.file == str(root / "images.txt")


def test_a_shifted_list_is_detected_by_its_names(root: Path) -> None:
    names = [f"{letter}.mp4" for letter in "abcd"]
    touch(root, names)
    touch(root, [f"{letter}.png" for letter in "abcd"])
    (root / "videos.txt").write_text("\n".join(names))
    (root / "prompts.txt").write_text("1\n2\n3\n4")
    (root / "images.txt").write_text("a.png\nc.png\nd.png\nb.png")
    (problem,) = list_entries(data_of(image_column="images.txt"), root).problems
    assert problem.rule == "names-shifted"
    assert problem.message == (
        "b.mp4 is paired with c.png, but b.png is on line 4, and 2 more like it"
    )


def test_the_prefix_is_prepended_to_every_caption(root: Path) -> None:
    (root / "videos.txt").write_text(CLIPS[0])
    (root / "prompts.txt").write_text("a horse")
    entries = list_entries(data_of(caption_prefix="sks "), root).entries
    assert entries[0].caption == "sks a horse"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", b"file,text\na,b,c\n", "list.csv:2: has 3 columns, the first row has 2"),
        ("list.csv", b'file,text\na,"b\n', "list.csv:2: can't be read"),
        ("list.csv", b"file\na\n", "has no column text: it has file"),
        ("list.csv", b"", "has no column file: it has none"),
        ("list.csv", b"file,text\n\xff", "is not UTF-8 text"),
        ("list.jsonl", b'{"file": "a"}', "list.jsonl:1: has no text: it has file"),
        ("list.jsonl", b'{"file": "a", "text": 5}', "list.jsonl:1: text is not text"),
        ("list.jsonl", b"[1]", "list.jsonl:1: is not a JSON object"),
        ("list.jsonl", b"{", "list.jsonl:1: is not JSON"),
        ("list.parquet", b"PAR1", "can't be read as Parquet"),
        ("list.xlsx", b"", "write a .csv, .tsv, .jsonl or .parquet file"),
    ],
)
def test_an_unreadable_table_is_one_sentence(
    root: Path, name: str, content: bytes, message: str
) -> None:
    (root / name).write_bytes(content)
    data = data_of(metadata=name, video_column="file", caption_column="text")
    refused = list_entries(data, root).refused
    assert any(message in str(error) for error in refused.values())


def test_a_parquet_column_of_numbers_is_refused(root: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"file": [1], "text": ["a"]}), root / "x.parquet")
    data = data_of(metadata="x.parquet", video_column="file", caption_column="text")
    refused = list_entries(data, root).refused
    assert str(refused["metadata"]).endswith("x.parquet:1: file is not text")


def test_a_missing_list_and_a_missing_root_are_named(tmp_path: Path) -> None:
    refused = list_entries(data_of(), tmp_path).refused
    assert {field: str(error) for field, error in refused.items()} == {
        "caption_column": "prompts.txt doesn't exist",
        "video_column": "videos.txt doesn't exist",
    }
    refused = list_entries(data_of(), tmp_path / "gone").refused
    assert str(refused["root"]) == "data is not a folder"


def test_a_list_that_cannot_be_read_hides_no_missing_clip(root: Path) -> None:
    (root / "videos.txt").write_text("gone.mp4\n")
    listing = list_entries(data_of(), root)
    assert set(listing.refused) == {"caption_column"}
    assert rules(listing) == ["clip-missing"]


def test_a_column_that_a_table_lacks_hides_no_missing_clip(root: Path) -> None:
    (root / "list.csv").write_text("file\ngone.mp4\n")
    data = data_of(metadata="list.csv", video_column="file", caption_column="text")
    listing = list_entries(data, root)
    assert set(listing.refused) == {"caption_column"}
    assert rules(listing) == ["clip-missing"]


def test_a_pattern_may_begin_with_a_star(root: Path) -> None:
    touch(root, ["b.mp4", "a.mp4"])
    (root / "prompts.txt").write_text("one\ntwo\n")
    listing = list_entries(data_of(video_column="*.mp4"), root)
    assert pairs(listing) == [("a.mp4", "one"), ("b.mp4", "two")]


def test_parquet_without_its_package_is_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _parquet(root)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = list_entries(data, root).refused
    assert str(refused["metadata"]).endswith("pip install 'cvbundle[parquet]'")


def test_listing_imports_nothing_heavy() -> None:
    code = "import sys, cvbundle.dataset.layouts; print(*sorted(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert not {"av", "numpy", "torch", "PIL", "pyarrow"} & set(done.stdout.split())


@given(st.lists(st.text()))
def test_packed_texts_equal_the_originals(texts: list[str]) -> None:
    packed = Texts(texts)
    assert list(packed) == texts
    assert packed[1:] == texts[1:]
    assert not texts or packed[-1] == texts[-1]
