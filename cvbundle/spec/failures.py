"""What went wrong while structuring, as problems with a place and words of our own."""

from collections.abc import Iterator
from typing import Any

import attrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from cvbundle.problems import Path, Place, Problem, Severity, dotted
from cvbundle.spec.about import About, about_field, is_section, section_class
from cvbundle.spec.converter import WrongChoice, WrongType
from cvbundle.spec.flow import flow
from cvbundle.spec.nearest import nearest
from cvbundle.spec.placed import problem_at
from cvbundle.spec.schema import Spec
from cvbundle.spec.soundness import is_known
from cvbundle.spec.source import Document, read_scalar

_SWITCHES = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false"}
_SWITCHES["false"] = "false"


def failures(error: BaseException, path: Path) -> Iterator[tuple[Path, BaseException]]:
    if not isinstance(error, BaseValidationError):
        yield path, error
        return
    for cause in error.exceptions:
        step = _step(cause)
        yield from failures(cause, path if step is None else (*path, step))


def _step(error: BaseException) -> str | int | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return note.index
    return None


def places_of(path: Path, cause: BaseException) -> list[Path]:
    if isinstance(cause, ForbiddenExtraKeysError):
        return [(*path, key) for key in cause.extra_fields]
    return [path]


def problems_of(
    document: Document, path: Path, cause: BaseException, unsound: set[Path]
) -> Iterator[Problem]:
    if isinstance(cause, ForbiddenExtraKeysError):
        known = list(attrs.fields_dict(cause.cl))
        for key in sorted(
            cause.extra_fields, key=lambda key: _order(document.section((*path, key)))
        ):
            yield _unknown_key(document, (*path, key), known)
    elif not is_known(path, unsound):
        return
    elif isinstance(cause, KeyError):
        about = about_at(path)
        hint = f"write {path[-1]}: {flow(about.example)}" if about and about.example else ""
        if about:
            hint = f"{hint} ({about.doc.rstrip('.')})" if hint else about.doc
        yield problem_at(document, "value-missing", path, f"{dotted(path)} is missing", hint)
    elif isinstance(cause, WrongChoice):
        only = cause.choices[0] if len(cause.choices) == 1 else None
        near = only or nearest(str(cause.value), cause.choices)
        hint = f"write {near}" if near else f"one of {', '.join(cause.choices)}"
        message = f"{dotted(path)} can't be {shown(cause.value)}"
        if not only:
            message += f": {', '.join(cause.choices)}"
        yield problem_at(document, "value-choice", path, message, hint, near)
    elif isinstance(cause, WrongType):
        message = f"{dotted(path)}: expected {cause.expected}, not {_described(cause.value)}"
        better = _right_type(cause)
        hint = f"write {better or cause.expected}"
        if better is None and not cause.expected.startswith("one of"):
            hint += _such_as(path)
        yield problem_at(document, "value-type", path, message, hint, better)
    else:
        limit = _limit(str(cause.args[0]))
        message = f"{dotted(path)}: {limit}"
        about = about_at(path)
        hint = f"{about.doc.rstrip('.')}{_such_as(path)}" if about else ""
        yield problem_at(document, "value-range", path, message, hint)


def _such_as(path: Path) -> str:
    """`, such as 128`: a sound value of the field, or of the list that an item is in."""
    about = about_at(path)
    example = about.example if about else None
    if isinstance(path[-1], int) and isinstance(example, list):
        example = example[0]
    return "" if example is None else f", such as {flow(example)}"


def _unknown_key(document: Document, path: Path, known: list[str]) -> Problem:
    key, hint = str(path[-1]), ""
    near = nearest(key, known)
    if near and document.has((*path[:-1], near)):
        hint, near = f"{near} is there too: remove this one", None
    elif near:
        hint = f"write {near}"
    elif homes := _homes(key):
        hint = f"{key} belongs to {' or '.join(homes)}"
    else:
        hint = f"known here: {', '.join(known)}"
    where = dotted(path[:-1]) or "the spec"
    place = document.keys.get(path) or document.section(path)
    message = f"{where} has no field {shown(key)}"
    at_key = path in document.keys and place.whole
    return Problem(
        "key-unknown", Severity.ERROR, place, message, hint, path, near if at_key else None
    )


def _order(place: Place) -> tuple[int, int]:
    return place.line, place.column


def path_name(path: Path) -> str:
    """The field's name, without the index in a list."""
    return next(str(step) for step in reversed(path) if isinstance(step, str))


def about_at(path: Path) -> About | None:
    """The documentation of the field at a path, or None."""
    cls: Any = Spec
    found: About | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if not is_section(cls) or step not in attrs.fields_dict(cls):
            return None
        attribute = attrs.fields_dict(cls)[step]
        found = about_field(attribute)
        cls = section_class(attribute.type)
    return found


def _homes(key: str) -> list[str]:
    """The sections that do have a field of this name."""
    sections = {name: section_class(a.type) for name, a in attrs.fields_dict(Spec).items()}
    return [
        name for name, cls in sections.items() if is_section(cls) and key in attrs.fields_dict(cls)
    ]


def shown(value: object, limit: int = 60) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "null"
    elif isinstance(value, list):
        text = f"[{', '.join(shown(item) for item in value[:8])}]"
    else:
        text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


def _described(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    kind = "text" if isinstance(value, str) else "the number" if not isinstance(value, bool) else ""
    text = f'"{shown(value)}"' if isinstance(value, str) else shown(value)
    return f"{kind} {text}".strip()


def _right_type(cause: WrongType) -> str | None:
    """The same value, written as the type that is wanted; None where it can't be."""
    value, expected = cause.value, cause.expected
    if "list" in expected and isinstance(value, str) and value:
        return flow([value])
    if "text" in expected and isinstance(value, bool | int | float):
        return f'"{shown(value)}"'
    if "true or false" in expected and isinstance(value, str):
        return _SWITCHES.get(value.strip().lower())
    if "number" in expected and isinstance(value, str):
        return _number(value.strip(), whole="whole" in expected)
    if "whole" in expected and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


def _number(text: str, *, whole: bool) -> str | None:
    """The text, where it is a number as a spec writes one."""
    try:
        value = read_scalar(text)
    except ValueError:
        return None
    kinds = (int,) if whole else (int, float)
    return text if isinstance(value, kinds) and not isinstance(value, bool) else None


def _limit(message: str) -> str:
    """A validator's message without the quoted field name before it."""
    _, found, rest = message.partition(" must ")
    if not found:
        return message
    if rest.startswith("match regex"):
        value = shown(rest.rpartition(" (")[2].removesuffix(" doesn't)"))
        return f"{value} has characters or a length that are not allowed"
    prefix = "its length must " if message.startswith("Length") else "must "
    return (prefix + rest).replace(": ", ", not ", 1)
