"""Apply the replacements that problems offer to a spec's text.

Edits replace parts of the text, so comments, quotes and layout stay. Each is applied only if
reading the result gives the same data with just that value or key changed.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from attrs import frozen

from cvbundle.problems import Path, Place, Problem
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.lines import LINE_END
from cvbundle.spec.text.reader import read

_BOM = "\ufeff"


@frozen
class Edit:
    """A replacement of the characters from `start` to `stop` of the text."""

    start: int
    stop: int
    text: str
    problem: Problem


def fixed(content: bytes, problems: Iterable[Problem], file: str) -> bytes:
    """The spec's bytes with the replacements of its problems applied.

    Of overlapping edits, the first is applied. Problems in other files or command-line values are
    ignored, and a text that isn't complete YAML is not changed.
    """
    document = read(content, file)
    if not document.complete or () in document.invalid:
        return content
    text = content.decode()
    for edit in reversed(_edits(text, problems, file)):
        edited = text[: edit.start] + edit.text + text[edit.stop :]
        result = read(edited.encode(), file)
        if result.complete and result.data == _expected(document, edit):
            text, document = edited, result
    return text.encode()


def _edits(text: str, problems: Iterable[Problem], file: str) -> list[Edit]:
    """The edits in the order of the text, without overlaps."""
    starts = [0, *(match.end() for match in LINE_END.finditer(text))]
    lines = LINE_END.split(text.removeprefix(_BOM))
    chosen: list[Edit] = []
    for problem in problems:
        place = problem.place
        if problem.replacement is None or not place.whole or place.file != file:
            continue
        # The place is from another version of the text.
        if place.line > len(lines) or lines[place.line - 1] != place.text:
            continue
        start = starts[place.line - 1] + place.column - 1
        start += len(_BOM) if place.line == 1 and text.startswith(_BOM) else 0
        edit = Edit(start, start + place.width, problem.replacement, problem)
        if not any(edit.start < other.stop and other.start < edit.stop for other in chosen):
            chosen.append(edit)
    return sorted(chosen, key=lambda edit: edit.start)


def _expected(document: Document, edit: Edit) -> dict[str, object] | None:
    """The data after an edit; None if its place is not that of a value or a key."""
    path = _at(document.values, edit.problem)
    if path is not None:
        value = read(f"value: {edit.text}".encode(), "").data.get("value")
        return cast(dict[str, object], _with_value(document.data, path, value))
    path = _at(document.keys, edit.problem)
    if path is None:
        return None
    return cast(dict[str, object], _with_key(document.data, path, edit.text))


def _at(places: Mapping[Path, Place], problem: Problem) -> Path | None:
    """The path at a problem's place: the problem's own, except for a swept value."""
    start = (problem.place.line, problem.place.column)
    # A section in block style begins at its first key, but its place isn't whole.
    paths = [
        path
        for path, place in places.items()
        if path and place.whole and (place.line, place.column) == start
    ]
    return problem.path if problem.path in paths else paths[0] if paths else None


def _with_value(data: Any, path: Path, value: object) -> Any:
    """A copy of the data with another value at a path."""
    if not path:
        return value
    step = path[0]
    if isinstance(data, Mapping):
        return {**data, str(step): _with_value(data.get(str(step)), path[1:], value)}
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return [*data[:step], _with_value(data[step], path[1:], value), *data[step + 1 :]]
    return None


def _with_key(data: Any, path: Path, key: str) -> Any:
    """A copy of the data with the key at a path renamed; None if the name is taken."""
    step = path[0]
    if len(path) > 1:
        inner = data.get(step) if isinstance(data, Mapping) else data[step]
        return _with_value(data, path[:1], _with_key(inner, path[1:], key))
    if not isinstance(data, Mapping) or key in data or step not in data:
        return None
    return {key if name == step else name: value for name, value in data.items()}
