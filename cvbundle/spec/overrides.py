"""`--set section.field=value`: override values of the spec."""

from collections.abc import Iterable

from attrs import evolve

from cvbundle.problems import Path, Place
from cvbundle.spec.rules import YAML_SYNTAX
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.reader import read


def override(document: Document, settings: Iterable[str]) -> Document:
    """The document with each `field=value` set; values are read as in the spec.

    A problem with such a value is reported at the setting, not at a line of the spec.
    """
    for setting in settings:
        document = _set(document, setting)
    return document


def _set(document: Document, setting: str) -> Document:
    name, equals, text = setting.partition("=")
    path: Path = tuple(name.strip().split("."))
    if not equals or not all(path):
        whole = Place("--set", 1, 1, max(1, len(setting)), setting)
        return _refused(document, whole, "not field=value", "write training.learning_rate=1e-4")
    key_place = Place("--set", 1, 1, len(name), setting)
    value_place = Place("--set", 1, len(name) + 2, max(1, len(text)), setting, whole=bool(text))
    document = with_value(document, path, None, value_place, key_place)
    parsed = read(f"{_PREFIX}{text}".encode("utf-8", "surrogateescape"), "--set")

    def moved(place: Place) -> Place:
        """The place in the setting of a place in `parsed`."""
        if place.line > 1:
            return value_place
        column = place.column - len(_PREFIX) + len(name) + 1
        return evolve(place, column=column, text=setting)

    problems = parsed.problems
    if not problems and (set(parsed.data) != {"value"} or not parsed.complete):
        problems = (YAML_SYNTAX.problem(value_place, "not one value"),)
    if problems:
        placed = (evolve(problem, place=value_place, path=path) for problem in problems)
        return evolve(
            document,
            problems=(*document.problems, *placed),
            invalid=document.invalid | {path},
        )
    inside = {
        kind: {(*path, *at[1:]): moved(place) for at, place in places.items() if len(at) > 1}
        for kind, places in (("values", parsed.values), ("keys", parsed.keys))
    }
    return evolve(
        document,
        data=_with(document.data, path, parsed.data["value"]),
        values=document.values | inside["values"],
        keys=document.keys | inside["keys"],
    )


_PREFIX = "value: "


def with_value(
    document: Document, path: Path, value: object, place: Place, key_place: Place
) -> Document:
    """The document with another value at `path`, placed at `place`."""
    document = _without(document, path)
    # New sections are placed there too, and so are problems about their missing fields.
    new = [path[:depth] for depth in range(1, len(path)) if not document.has(path[:depth])]
    sections = dict.fromkeys(new, key_place)
    return evolve(
        document,
        data=_with(document.data, path, value),
        values=document.values | sections | {path: place},
        keys=document.keys | sections | {path: key_place},
    )


def _refused(document: Document, place: Place, message: str, hint: str) -> Document:
    problem = YAML_SYNTAX.problem(place, message, hint)
    return evolve(document, problems=(*document.problems, problem))


def _without(document: Document, path: Path) -> Document:
    """The document without the places, problems and invalid marks of a path and all below it."""

    def is_below(other: Path) -> bool:
        return other[: len(path)] == path

    return evolve(
        document,
        values={at: place for at, place in document.values.items() if not is_below(at)},
        keys={at: place for at, place in document.keys.items() if not is_below(at)},
        invalid=frozenset(at for at in document.invalid if not is_below(at)),
        # Problems with a replaced value no longer apply.
        problems=tuple(
            problem
            for problem in document.problems
            if not problem.path or not is_below(problem.path)
        ),
    )


def _with(data: dict[str, object], path: Path, value: object) -> dict[str, object]:
    """A copy of the data with a value at a path; a non-section on the way is replaced."""
    key = str(path[0])
    if len(path) == 1:
        return {**data, key: value}
    inner = data.get(key)
    return {**data, key: _with(inner if isinstance(inner, dict) else {}, path[1:], value)}
