"""A spec's text is read as YAML 1.2 core, and every problem has its place."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cvbundle.problems import Path, render_github, render_text
from cvbundle.spec.flow import flow
from cvbundle.spec.text import events
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.events import MAX_DEPTH, MAX_VALUES
from cvbundle.spec.text.reader import MAX_BYTES, read, read_scalar
from tests.rules.specs import check_text, text_of

bounded = settings(max_examples=150, derandomize=True, deadline=None)


def document(text: str | bytes) -> Document:
    return read(text.encode() if isinstance(text, str) else text, "spec.yaml")


def refusals(text: str | bytes) -> list[tuple[str, int, int]]:
    """Rule, line and column of every problem."""
    reported = document(text).problems
    return [(problem.rule, problem.place.line, problem.place.column) for problem in reported]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("0", 0),
        ("0x1F", 31),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+3", -1500.0),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("2024-01-01", "2024-01-01"),
        ("49x480x720", "49x480x720"),
        ("'5'", "5"),
        ('"010"', "010"),
        ('"12:30"', "12:30"),
        ('"a\\nb"', "a\nb"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("[1, 'a', null]", [1, "a", None]),
        ("[a, b,]", ["a", "b"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_a_scalar_is_read_as_yaml_1_2(text: str, value: object) -> None:
    read_value = document(f"v: {text}").data["v"]
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize(
    "text",
    ["010", "-010", "00", "08", "0o17", "0b101", "1_000", "0x1_0", "1_0.5", "12:30", "1:30:00.5"],
)
def test_a_scalar_that_yaml_1_1_reads_differently_is_refused(text: str) -> None:
    reported = document(f"a:\n  v: {text}")
    assert refusals(f"a:\n  v: {text}") == [("yaml-ambiguous", 2, 6)]
    assert reported.problems[0].path == ("a", "v")
    assert ("a", "v") in reported.invalid
    assert reported.data == {"a": {}}


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e400", "1" * 21, "0x" + "f" * 30])
def test_a_number_that_is_not_finite_is_refused(text: str) -> None:
    assert refusals(f"v: {text}") == [("value-range", 1, 4)]


@pytest.mark.parametrize(
    ("text", "rule", "line", "column"),
    [
        ("a: 1\na: 2\n", "key-duplicate", 2, 1),
        ("s: {a: 1, a: 2}", "key-duplicate", 1, 11),
        ("s:\n  a: 1\n  b: 2\n  a: 3", "key-duplicate", 4, 3),
        ("a: &x 1", "yaml-unsafe", 1, 4),
        ("a: *x", "yaml-unsafe", 1, 4),
        ("a: !!str 5", "yaml-unsafe", 1, 4),
        ("a: !python/object:os.system {}", "yaml-unsafe", 1, 4),
        ("&x a: 1", "yaml-unsafe", 1, 1),
        ("a: 1\n---\nb: 2", "yaml-unsafe", 2, 1),
        ("? [a]\n: 1", "yaml-unsafe", 1, 3),
        ("a: [1, 2", "yaml-syntax", 1, 9),
        ("a:\n\t- 1", "yaml-syntax", 2, 1),
        ("a: 1\n b: 2", "yaml-syntax", 2, 3),
        ("a: 'x", "yaml-syntax", 1, 6),
        ("a: \x07", "yaml-syntax", 1, 4),
        ("- 1\n- 2", "value-type", 1, 1),
        ("just text", "value-type", 1, 1),
        ("", "value-type", 1, 1),
        ("# nothing\n", "value-type", 1, 1),
    ],
)
def test_a_refusal_has_its_line_and_column(text: str, rule: str, line: int, column: int) -> None:
    assert refusals(text) == [(rule, line, column)]


def test_bytes_that_are_not_utf_8_are_refused_at_their_place() -> None:
    assert refusals(b"a: 1\nb: caf\xe9") == [("yaml-unsafe", 2, 7)]
    assert refusals("a: 1".encode("utf-16")) == [("yaml-unsafe", 1, 1)]


def test_size_depth_and_number_of_values_are_limited() -> None:
    assert refusals(b"#" * (MAX_BYTES + 1)) == [("yaml-unsafe", 1, 1)]
    deep = "a: " + "[" * 30_000
    assert refusals(deep) == [("yaml-unsafe", 1, 3 + MAX_DEPTH)]
    assert [rule for rule, _, _ in refusals("a: [" + "1," * (2 * MAX_VALUES) + "]")] == [
        "yaml-unsafe"
    ]


def test_windows_line_ends_and_a_byte_order_mark_shift_no_place() -> None:
    text = "\ufeffa: 1\r\nb:\r\n  c: 010\r\n"
    assert refusals(text) == [("yaml-ambiguous", 3, 6)]
    assert document(text).problems[0].place.text == "  c: 010"


def test_columns_count_characters() -> None:
    assert refusals('{é: "\U0001f600", v: 010}') == [("yaml-ambiguous", 1, 13)]


def test_comments_directives_and_document_markers_are_accepted() -> None:
    text = "%YAML 1.2\n---\n# why\na: 1 # because\n...\n"
    assert document(text).data == {"a": 1}
    assert not refusals(text)


def test_json_is_yaml() -> None:
    data = {"a": {"b": [1, 2.5e-08, None, True, 'x\u00e9 "q" / \\ \t']}, "c": "49x480x720"}
    for indent in (None, 2):
        for ascii_only in (True, False):
            text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
            assert document(text).data == data
            assert not refusals(text)


def test_values_keys_and_sections_have_places() -> None:
    reported = document("model:\n  path: here\n  tags: [a, 'b c']\nlist:\n  - x\n  - y\n")

    def at(path: Path) -> tuple[int, int, int, bool]:
        place = reported.place(path)
        return place.line, place.column, place.width, place.whole

    assert at(("model", "path")) == (2, 9, 4, True)
    assert at(("model", "tags")) == (3, 9, 10, True)
    assert at(("model", "tags", 1)) == (3, 13, 5, True)
    assert at(("list", 1)) == (6, 5, 1, True)
    assert at(("list",))[:2] == (5, 3)
    assert not reported.place(("list",)).whole
    assert at(("model", "missing"))[:2] == (1, 1)
    assert at(("list", 7))[:2] == (5, 3)
    assert at(("missing",))[:2] == (1, 1)


def test_an_empty_value_is_not_a_whole_place() -> None:
    assert not document("a:\nb: 1").place(("a",)).whole


def test_values_before_a_syntax_error_are_kept() -> None:
    reported = document("a: 1\nb:\n  c: [1, 2\n  d: }\n")
    assert not reported.complete
    assert reported.data["a"] == 1
    assert ("b", "c") in reported.invalid


def test_a_list_cut_off_inside_an_item_is_invalid() -> None:
    """Found by atheris: an item below a list that is replaced as a whole."""
    reported = check_text(f"{text_of({})}validation: {{steps: 200, prompts: [a, b: 1, 'c")
    assert [problem.rule for problem in reported.problems] == ["yaml-syntax"]


def test_values_in_a_refused_section_are_skipped() -> None:
    reported = document("a: &x {b: 1, c: [2]}\nd: 3")
    assert reported.data == {"d": 3}
    assert reported.invalid == {("a",)}


@given(st.text(max_size=200))
@bounded
def test_any_text_gives_data_or_problems(text: str) -> None:
    _harmless(text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
@bounded
def test_any_bytes_give_data_or_problems(content: bytes) -> None:
    _harmless(content)


@given(st.text("{}[],:&*!|>'\"%@`#-?~<=.0x1e_ \t\n\r", max_size=80))
@bounded
def test_any_punctuation_gives_data_or_problems(text: str) -> None:
    _harmless(text.encode())


def _harmless(content: bytes) -> None:
    reported = read(content, "spec.yaml")
    for problem in reported.problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        assert problem.place.width >= 1
        assert "\x1b" not in render_text(problem)
        assert "\n" not in render_github(problem)


_text = st.text(st.characters(codec="utf-8"), max_size=20)
_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner),
    max_leaves=8,
)


@given(_plain)
@bounded
def test_values_written_by_flow_are_read_back(value: object) -> None:
    assert read_scalar(flow(value)) == value
    nested = document(f"a:\n  - {{b: {flow(value)}}}\n")
    assert not nested.problems
    assert nested.data == {"a": [{"b": value}]}


@pytest.mark.parametrize("text", ["1\nb: 2", "[", "010", "&a 1"])
def test_a_setting_that_is_not_one_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_scalar(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\t- 1", "indent with spaces: YAML doesn't allow tabs here"),
        ("a: *", "quote a text that begins with this character"),
        ("a: &", "quote a text that begins with this character"),
        ("a: @x", "quote a text that begins with this character"),
        ("a: !<", "quote a text that begins with this character"),
        ("a: |x", "quote a text that begins with this character"),
        ("a: b: c", 'indent it like the lines around it, or quote a text that contains ": "'),
        ("a: 1\n b: 2", 'indent it like the lines around it, or quote a text that contains ": "'),
        ('a: "\\q"', "double the backslash, or use single quotes"),
        ('a: "\\xZZ"', "double the backslash, or use single quotes"),
        ('a: "x', "close the quote of line 1"),
        ("a: 'x\nb: 1", "close the quote of line 1"),
        ("a: {b: 1\nc: 2", "add a comma, or close the bracket of line 1"),
        ("b: 1\na: [1,\nb: 2", "add a comma, or close the bracket of line 2"),
        ("a:\n  - x\n b: 1", "indent it like the lines around it"),
        ("x:\n  - a\n  b: 1", "indent it like the lines around it"),
        ("a: 'it's'", "not YAML from here on"),
        ("a: \x07", "remove it"),
    ],
)
@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
def test_a_syntax_error_says_what_to_do_by_the_text_at_it(
    text: str, hint: str, loader: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libyaml and PyYAML word their errors differently; their marks are alike."""
    monkeypatch.setattr(events, "_LOADER", loader)
    assert [
        problem.hint for problem in document(text).problems if problem.rule == "yaml-syntax"
    ] == [hint]
