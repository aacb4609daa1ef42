"""An edit changes its value or key, and no other byte."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.problems import Path, Place, Problem, Severity
from cvbundle.spec.fix import fixed
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.reader import read


def problem(document: Document, path: Path, text: str, *, key: bool = False) -> Problem:
    place = (document.keys if key else document.values)[path]
    return Problem("rule", Severity.ERROR, place, "wrong", "", path, text)


def fixed_by(text: str, values: Mapping[Path, str], keys: Mapping[Path, str] | None = None) -> str:
    document = read(text.encode(), "spec.yaml")
    problems = [problem(document, path, new) for path, new in values.items()]
    problems += [problem(document, path, new, key=True) for path, new in (keys or {}).items()]
    return fixed(text.encode(), problems, "spec.yaml").decode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rank: 5   # why\n", "rank: 64   # why\n"),
        ('rank: "5"\n', "rank: 64\n"),
        ("rank: '5' # why", "rank: 64 # why"),
        ("{a: 1, rank: 5, b: 2}\n", "{a: 1, rank: 64, b: 2}\n"),
        ("# first\n\nrank:    5\n\n\n", "# first\n\nrank:    64\n\n\n"),
        ("a: é \nrank: 5\n", "a: é \nrank: 64\n"),
        ("a: 1\r\nrank: 5\r\nb: 2\r\n", "a: 1\r\nrank: 64\r\nb: 2\r\n"),
        ("\ufeffrank: 5\n", "\ufeffrank: 64\n"),
        ("\ufeffa: 1\nrank: 5\n", "\ufeffa: 1\nrank: 64\n"),
        ('a: "x\u2028y"\nrank: 5', 'a: "x\u2028y"\nrank: 64'),
        ("rank: 5", "rank: 64"),
        ("rank: [5, 6]  # both\n", "rank: 64  # both\n"),
    ],
)
def test_a_value_is_replaced_and_the_rest_stays(old: str, new: str) -> None:
    assert fixed_by(old, {("rank",): "64"}) == new


def test_a_key_is_renamed_and_its_value_and_comments_stay() -> None:
    text = "lora: # adapter\n  rnk: 5  # small\n"
    assert fixed_by(text, {}, {("lora", "rnk"): "rank"}) == "lora: # adapter\n  rank: 5  # small\n"


def test_several_edits_in_one_line_are_all_made() -> None:
    text = "lora: {rnk: 5, alpha: 'x', dropout: no}\n"
    values: dict[Path, str] = {("lora", "alpha"): "32.0", ("lora", "dropout"): "0.0"}
    assert fixed_by(text, values, {("lora", "rnk"): "rank"}) == (
        "lora: {rank: 5, alpha: 32.0, dropout: 0.0}\n"
    )


def test_the_first_of_two_edits_of_one_place_is_applied() -> None:
    document = read(b"rank: 5\n", "spec.yaml")
    both = [problem(document, ("rank",), "6"), problem(document, ("rank",), "7")]
    assert fixed(b"rank: 5\n", both, "spec.yaml") == b"rank: 6\n"


def test_an_item_and_its_list_overlap() -> None:
    values: dict[Path, str] = {("a", 0): "9", ("a",): "[3]"}
    assert fixed_by("a: [1, 2]\n", values) == "a: [9, 2]\n"


@pytest.mark.parametrize(
    "text",
    [
        "rank: |\n  5\n",
        "rank: >-\n  5\n  6\n",
        "rank: [5,\n  6]\n",
        'rank: "5\n  6"\n',
        "rank: 5\n  6\n",
        "rank:\n  a: 1\n  b: 2\n",
        "rank:\n",
    ],
)
def test_a_value_over_several_lines_is_left_alone(text: str) -> None:
    assert fixed_by(text, {("rank",): "64"}) == text


def test_a_key_is_not_renamed_to_an_existing_one() -> None:
    text = "rnk: 5\nrank: 6\n"
    assert fixed_by(text, {}, {("rnk",): "rank"}) == text


def test_an_edit_that_would_change_other_data_is_not_applied() -> None:
    text = "a: {rank: 5}\n"
    assert fixed_by(text, {("a", "rank"): "6, b: 7"}) == text
    assert fixed_by(text, {("a", "rank"): "6 # no"}) == text
    assert fixed_by("rank: 5\n", {("rank",): "*alias"}) == "rank: 5\n"


def test_a_place_in_another_file_is_left_alone() -> None:
    place = Place("--set", 1, 7, 1, "rank: 5")
    other = Problem("rule", Severity.ERROR, place, "wrong", "", ("rank",), "6")
    assert fixed(b"rank: 5\n", [other], "spec.yaml") == b"rank: 5\n"


def test_a_place_in_an_older_text_is_ignored() -> None:
    old = read(b"rank: 55\n", "spec.yaml")
    assert fixed(b"rank: 5\n", [problem(old, ("rank",), "6")], "spec.yaml") == b"rank: 5\n"


def test_a_text_that_is_not_yaml_is_left_alone() -> None:
    text = b"rank: 5\nlora: {rank\n"
    place = Place("spec.yaml", 1, 7, 1, "rank: 5")
    broken = Problem("rule", Severity.ERROR, place, "wrong", "", ("rank",), "6")
    assert fixed(text, [broken], "spec.yaml") == text
    assert fixed(b"\xff", [broken], "spec.yaml") == b"\xff"


def test_a_value_refused_while_reading_is_fixed() -> None:
    assert fixed_by("seed: 010\n", {("seed",): "10"}) == "seed: 10\n"


_keys = st.sampled_from(["a", "b", "c", "d"])
_values = st.one_of(
    st.integers(-9, 99).map(str), st.sampled_from(["'x'", '"y z"', "true", "[1, 2]", "{e: 1}"])
)


@given(st.dictionaries(_keys, _values, min_size=1), _values, st.sampled_from(["\n", "\r\n"]))
def test_only_the_requested_value_changes(entries: dict[str, str], new: str, newline: str) -> None:
    first, *_ = entries
    text = newline.join(f"{key}:  {value}  # {key}" for key, value in entries.items()) + newline
    expected = text.replace(f"{first}:  {entries[first]}  #", f"{first}:  {new}  #")
    assert fixed_by(text, {(first,): new}) == expected
