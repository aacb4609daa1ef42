"""`--set section.field=value`: values that replace those of the spec."""

from collections.abc import Iterable

from attrs import evolve

from cvbundle.problems import Path, Place, Problem, Severity
from cvbundle.spec.source import Document, read


def override(document: Document, settings: Iterable[str]) -> Document:
    """The document with each `field=value` set; a value is read as in the spec itself.

    A problem with such a value is reported at the setting instead of a line of the spec.
    """
    for setting in settings:
        document = _set(document, setting)
    return document


def _set(document: Document, setting: str) -> Document:
    name, equals, text = setting.partition("=")
    path: Path = tuple(name.strip().split("."))
    whole = Place("--set", 1, 1, len(setting), setting)
    if not equals or not all(path):
        hint = "write --set training.learning_rate=1e-4"
        problem = Problem("yaml-syntax", Severity.ERROR, whole, "not field=value", hint)
        return evolve(document, problems=(*document.problems, problem))
    value_place = Place("--set", 1, len(name) + 2, max(1, len(text)), setting)
    given = read(f"value: {text}".encode(), "--set")
    if given.problems or "value" not in given.data:
        problems = tuple(evolve(found, place=value_place, path=path) for found in given.problems)
        return evolve(
            document,
            problems=document.problems + problems,
            unsound=document.unsound | {path},
            values={**document.values, path: value_place},
        )
    key_place = Place("--set", 1, 1, len(name), setting)
    return with_value(document, path, given.data["value"], value_place, key_place)


def with_value(
    document: Document, path: Path, value: object, place: Place, key_place: Place
) -> Document:
    """The document with another value at `path`, said to stand at `place`."""
    data = _deep_copy(document.data)
    target = data
    for step in path[:-1]:
        inner = target.get(str(step))
        if not isinstance(inner, dict):
            inner = {}
            target[str(step)] = inner
        target = inner
    target[str(path[-1])] = value
    values = {at: old for at, old in document.values.items() if at[: len(path)] != path}
    return evolve(
        document,
        data=data,
        values={**values, path: place},
        keys={**document.keys, path: key_place},
        unsound=document.unsound - {path},
    )


def _deep_copy(data: dict[str, object]) -> dict[str, object]:
    return {
        key: _deep_copy(value) if isinstance(value, dict) else value for key, value in data.items()
    }
