"""Defaults that depend on the model, on other fields or on text files are filled in."""

import os
from pathlib import Path

import pytest

from cvbundle.problems import Path as SpecPath
from cvbundle.problems import UserError
from cvbundle.spec.resolve import with_defaults, with_listed

MODEL: dict[SpecPath, object] = {
    ("model", "name"): "cogvideox-5b",
    ("data", "resolution"): "49x480x720",
    ("validation", "fps"): 8,
}


def test_the_model_gives_only_missing_defaults() -> None:
    data = {"model": {"path": "x"}, "data": {"resolution": "9x32x48"}}
    filled = with_defaults(data, MODEL)
    assert filled["model"] == {"path": "x", "name": "cogvideox-5b"}
    assert isinstance(filled["data"], dict)
    assert filled["data"]["resolution"] == "9x32x48"
    assert "validation" not in filled


def test_a_null_name_is_left_to_the_model() -> None:
    filled = with_defaults({"model": {"name": None}}, MODEL)
    assert filled["model"] == {"name": "cogvideox-5b"}


def test_a_table_has_columns_and_text_files_have_names() -> None:
    lists = with_defaults({"data": {}}, {})["data"]
    table = with_defaults({"data": {"metadata": "m.csv"}}, {})["data"]
    assert isinstance(lists, dict)
    assert isinstance(table, dict)
    assert (lists["caption_column"], lists["video_column"]) == ("prompts.txt", "videos.txt")
    assert (table["caption_column"], table["video_column"]) == ("caption", "video")


def test_full_training_has_no_adapter() -> None:
    assert with_defaults({"training": {"type": "sft"}}, {})["lora"] is None
    assert with_defaults({}, {})["lora"] == {}


def test_a_value_that_is_not_a_section_is_left_for_structuring() -> None:
    filled = with_defaults({"model": 5, "data": [1], "training": None}, MODEL)
    assert (filled["model"], filled["data"], filled["training"]) == (5, [1], None)


def test_a_text_file_becomes_its_lines(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfA cat.\r\n\r\n A dog. \n")
    data = with_listed({"validation": {"prompts": "p.txt"}}, tmp_path, "prompts")
    assert data["validation"] == {"prompts": ["A cat.", "A dog."]}


def test_a_list_is_left_alone(tmp_path: Path) -> None:
    data = {"validation": {"prompts": ["p.txt"]}}
    assert with_listed(data, tmp_path, "prompts") == data
    assert with_listed({}, tmp_path, "prompts") == {}


@pytest.mark.parametrize("name", ["gone.txt", "", ".", "a\0b", "~nobody-here/x", "x" * 5000])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"is not|can't be read"):
        with_listed({"validation": {"prompts": name}}, tmp_path, "prompts")


def test_a_device_or_pipe_is_not_read(tmp_path: Path) -> None:
    """One would fill the memory, the other block forever."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("/dev/zero", "pipe"):
        with pytest.raises(UserError, match="not a text file"):
            with_listed({"validation": {"prompts": name}}, tmp_path, "prompts")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_text_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"p\.txt"):
        with_listed({"validation": {"prompts": "p.txt"}}, tmp_path, "prompts")
