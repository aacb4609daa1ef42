"""A list can't expand to more than is read, and every text of it has a spelling in a manifest."""

import resource
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from cvbundle.dataset import cells
from cvbundle.dataset.listing import Listing, list_entries
from tests.dataset.test_layouts import data_of, touch

LONG = "x" * (cells.MAX_CHARACTERS + 1)


def messages(listing: Listing) -> str:
    """All that is said of a dataset's lists."""
    refused = [str(error) for error in listing.refused.values()]
    return "\n".join([*refused, *(problem.message for problem in listing.problems)])


def table(root: Path, name: str, content: bytes | pyarrow.Table) -> Listing:
    """The entries of a table with the columns `file` and `text`."""
    touch(root, ["a.mp4"])
    if isinstance(content, bytes):
        (root / name).write_bytes(content)
    else:
        pyarrow.parquet.write_table(content, root / name, compression="zstd")
    return list_entries(data_of(metadata=name, video_column="file", caption_column="text"), root)


def repeated(value: str, times: int) -> pyarrow.Array:
    """A text many times, which Parquet stores once."""
    indices = pyarrow.array([0] * times, pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array([value]))


def test_a_parquet_of_a_kilobyte_does_not_expand_to_gigabytes(tmp_path: Path) -> None:
    rows = 20_000
    bomb = pyarrow.table({"file": repeated("a.mp4", rows), "text": repeated("x" * 2_000_000, rows)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    listing = table(tmp_path, "bomb.parquet", bomb)
    assert (tmp_path / "bomb.parquet").stat().st_size < 1000
    assert "text has 2,000,000 characters; at most 16,384 are read" in messages(listing)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 200


def test_what_a_parquet_column_expands_to_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "MAX_BYTES", 10_000)
    rows = pyarrow.table({"file": ["a.mp4"] * 300, "text": [f"{n:0100}" for n in range(300)]})
    assert "contains 3" in messages(table(tmp_path, "a.parquet", rows))
    same = pyarrow.table({"file": repeated("a.mp4", 300), "text": repeated("x" * 100, 300)})
    assert "bytes of text; at most 10,000 are read" in messages(table(tmp_path, "b.parquet", same))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_rows_are_limited(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MAX_ROWS", 3)
    contents: dict[str, bytes | pyarrow.Table] = {
        "a.csv": b"file,text\n" + b"a.mp4,a\n" * 4,
        "a.jsonl": b'{"file": "a.mp4", "text": "a"}\n' * 4,
        "a.parquet": pyarrow.table({"file": ["a.mp4"] * 4, "text": ["a"] * 4}),
    }
    assert "has more than 3 rows: split it" in messages(table(tmp_path, name, contents[name]))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", f"file,text\na.mp4,a\na.mp4,{LONG}\n", 3),
        ("a.jsonl", f'{{"file": "a.mp4", "text": "{LONG}"}}\n', 1),
    ],
)
def test_a_text_that_is_too_long_is_named_with_its_line(
    name: str, content: str, line: int, tmp_path: Path
) -> None:
    listing = table(tmp_path, name, content.encode())
    assert f"{name}:{line}: text has 16,385 characters" in messages(listing)


def test_a_line_of_a_text_file_that_is_too_long_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.mp4"])
    (tmp_path / "videos.txt").write_text("a.mp4\n")
    (tmp_path / "prompts.txt").write_text(f"{LONG}\n")
    listing = list_entries(data_of(), tmp_path)
    assert "prompts.txt:1: prompts.txt has 16,385 characters" in messages(listing)


def test_a_caption_beside_a_clip_that_is_too_long_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["a.mp4"])
    (tmp_path / "videos.txt").write_text("a.mp4\n")
    (tmp_path / "a.txt").write_text(LONG)
    listing = list_entries(data_of(caption_column="*.txt"), tmp_path)
    assert "a.txt, can't be read (more than 16,384 characters)" in messages(listing)


@pytest.mark.parametrize("clip", ["", ".", "..", "/"])
def test_a_line_that_names_no_file_has_no_caption_beside_it(clip: str, tmp_path: Path) -> None:
    touch(tmp_path, ["a.mp4"])
    (tmp_path / "videos.txt").write_text(f"a.mp4\n{clip}\na.mp4\n")
    (tmp_path / "a.txt").write_text("a cat")
    listing = list_entries(data_of(caption_column="*.txt"), tmp_path)
    assert [problem.rule for problem in listing.problems if problem.place.line == 2] == [
        "clip-missing"
    ]


@pytest.mark.parametrize("column", ["*txt", "*", "*.", "*/a.txt", "*.a/b"])
def test_a_suffix_that_is_none_is_refused(column: str, tmp_path: Path) -> None:
    touch(tmp_path, ["a.mp4"])
    (tmp_path / "videos.txt").write_text("a.mp4\n")
    listing = list_entries(data_of(caption_column=column), tmp_path)
    assert "write one such as *.txt" in messages(listing)


def test_clips_may_be_named_by_a_pattern_of_folders(tmp_path: Path) -> None:
    touch(tmp_path, ["one/a.mp4", "two/b.mp4"])
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    listing = list_entries(data_of(video_column="*/*.mp4"), tmp_path)
    assert [entry.clip for entry in listing.entries] == ["one/a.mp4", "two/b.mp4"]


def test_half_of_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    content = b'{"file": "a.mp4", "text": "a \\ud800 cat"}\n'
    listing = table(tmp_path, "a.jsonl", content)
    assert r"a.jsonl:1: text contains '\ud800', which is half of a character" in messages(listing)


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, ["a.mp4"])
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    (tmp_path / "b\udcff.mp4").touch()
    listing = list_entries(data_of(video_column="*.mp4"), tmp_path)
    assert r"a file's name contains '\udcff'" in messages(listing)
