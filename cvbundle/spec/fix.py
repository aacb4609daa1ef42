"""Write what hints offer into a spec's text, and nothing else.

Edits are cuts in the text, so that comments, quotes and layout stay. Each is made only if reading
the result gives the same data with just that value, or that key, changed.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from attrs import frozen

from cvbundle.problems import Path, Place, Problem
from cvbundle.spec.source import Document, read

_BOM = "\ufeff"
# Lines end where the reader ends them: see `source._Reader`.
_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@frozen
class Edit:
    """A stretch of the text to write over; `start` and `stop` count characters from its start."""

    start: int
    stop: int
    text: str
    problem: Problem


def fixed(content: bytes, problems: Iterable[Problem], file: str) -> bytes:
    """The spec's bytes with each replacement that its problems offer written over their places.

    Of several that overlap, the first one is made. Places in other files, or in values given on the
    command line, are left alone, and so is a text that can't be read as YAML to its end.
    """
    document = read(content, file)
    if not document.complete or () in document.unsound:
        return content
    text = content.decode()
    for edit in reversed(_edits(text, problems, file)):
        edited = text[: edit.start] + edit.text + text[edit.stop :]
        found = read(edited.encode(), file)
        if found.complete and found.data == _expected(document, edit):
            text, document = edited, found
    return text.encode()


def _edits(text: str, problems: Iterable[Problem], file: str) -> list[Edit]:
    """What is to be written, in the order of the text, without overlaps."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    lines = _LINE_END.split(text.removeprefix(_BOM))
    chosen: list[Edit] = []
    for problem in problems:
        place = problem.place
        if problem.replacement is None or not place.whole or place.file != file:
            continue
        # A place that isn't of this text, such as one of a file read before it was changed.
        if place.line > len(lines) or lines[place.line - 1] != place.text:
            continue
        start = starts[place.line - 1] + place.column - 1
        start += len(_BOM) if place.line == 1 and text.startswith(_BOM) else 0
        edit = Edit(start, start + place.width, problem.replacement, problem)
        if not any(edit.start < other.stop and other.start < edit.stop for other in chosen):
            chosen.append(edit)
    return sorted(chosen, key=lambda edit: edit.start)


def _expected(document: Document, edit: Edit) -> dict[str, object] | None:
    """The data once an edit is made; None where the place is not that of a value or a key."""
    path = _at(document.values, edit.problem)
    if path is not None:
        given = read(f"value: {edit.text}".encode(), "").data
        return cast(dict[str, object], _with_value(document.data, path, given.get("value")))
    path = _at(document.keys, edit.problem)
    if path is None:
        return None
    return cast(dict[str, object], _with_key(document.data, path, edit.text))


def _at(places: Mapping[Path, Place], problem: Problem) -> Path | None:
    """The path of what stands at a problem's place: its own, but for what a sweep moved."""
    wanted = (problem.place.line, problem.place.column)
    # A section in block style begins where its first key does, but isn't all of it.
    found = [
        path
        for path, place in places.items()
        if path and place.whole and (place.line, place.column) == wanted
    ]
    return problem.path if problem.path in found else found[0] if found else None


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
    """A copy of the data with another name for the key at a path; None where the name is taken."""
    step = path[0]
    if len(path) > 1:
        inner = data.get(step) if isinstance(data, Mapping) else data[step]
        return _with_value(data, path[:1], _with_key(inner, path[1:], key))
    if not isinstance(data, Mapping) or key in data or step not in data:
        return None
    return {key if name == step else name: value for name, value in data.items()}
