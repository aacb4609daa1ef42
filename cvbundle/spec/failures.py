"""Turn structuring errors into problems with places, messages and hints."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from cattrs.errors import ForbiddenExtraKeysError

from cvbundle.problems import Path, Place, Problem, dotted
from cvbundle.spec.about import About, about_field, is_section, section_class
from cvbundle.spec.converter import (
    TEXT,
    WrongType,
)
from cvbundle.spec.elsewhere import field_called, is_part
from cvbundle.spec.flow import flow
from cvbundle.spec.limits import WrongChoice
from cvbundle.spec.meant import as_slug, right_type, section_example
from cvbundle.spec.nearest import nearest
from cvbundle.spec.placed import problem_at
from cvbundle.spec.rules import KEY_UNKNOWN, VALUE_CHOICE, VALUE_MISSING, VALUE_RANGE, VALUE_TYPE
from cvbundle.spec.schema import Spec
from cvbundle.spec.text.document import Document
from cvbundle.spec.validity import is_outside


def places_of(path: Path, cause: BaseException) -> list[Path]:
    """The paths that an error makes invalid."""
    if isinstance(cause, ForbiddenExtraKeysError):
        return [(*path, key) for key in cause.extra_fields]
    return [path]


def problems_of(
    document: Document, path: Path, cause: BaseException, invalid: set[Path]
) -> Iterator[Problem]:
    """The problems of one error, unless it is inside of what is `invalid` already."""
    if isinstance(cause, ForbiddenExtraKeysError):
        names = list(attrs.fields_dict(cause.cl))
        for key in sorted(
            cause.extra_fields, key=lambda key: _order(document.section((*path, key)))
        ):
            yield _unknown_key(document, (*path, key), names)
    elif not is_outside(path, invalid):
        return
    elif isinstance(cause, KeyError):
        hint = _missing(document, path)
        yield problem_at(document, VALUE_MISSING, path, f"{dotted(path)} is missing", hint)
    elif isinstance(cause, WrongChoice):
        yield _wrong_choice(document, path, cause)
    elif isinstance(cause, WrongType):
        yield _wrong_type(document, path, cause)
    else:
        yield _out_of_limits(document, path, cause)


def _wrong_choice(document: Document, path: Path, cause: WrongChoice) -> Problem:
    only = cause.choices[0] if len(cause.choices) == 1 else None
    near = only or nearest(str(cause.value), cause.choices)
    hint = f"write {near}" if near else f"one of {', '.join(cause.choices)}"
    message = f"{dotted(path)} can't be {_shown(cause.value)}"
    if near and not only:
        message += f": {', '.join(cause.choices)}"
    return problem_at(document, VALUE_CHOICE, path, message, hint, near)


def _wrong_type(document: Document, path: Path, cause: WrongType) -> Problem:
    message = f"{dotted(path)}: expected {cause.expected}, not {_described(cause.value)}"
    better = right_type(cause, path)
    hint = f"write {better or cause.expected.written or cause.expected}"
    if better is None and cause.expected is TEXT and isinstance(cause.value, Mapping):
        hint = 'a text with ": " in it needs quotes around it'
    elif better is None and not cause.expected.choices:
        hint += _such_as(path)
    return problem_at(document, VALUE_TYPE, path, message, hint, better)


def _out_of_limits(document: Document, path: Path, cause: BaseException) -> Problem:
    about = about_at(path)
    hint = f"{about.doc.rstrip('.')}{_such_as(path)}" if about else ""
    better = as_slug(document.at(path)) if path == ("name",) else None
    if better:
        hint = f"write {better}: {hint}"
    return problem_at(document, VALUE_RANGE, path, f"{dotted(path)}: {cause}", hint, better)


def _missing(document: Document, path: Path) -> str:
    """What to write where a field is missing."""
    about = about_at(path)
    if about is None:
        return ""
    if path == ("cvbundle",) and len([key for key in document.data if field_called(key)]) > 2:
        return "a config of another trainer? convert it with cvbundle init --from FILE"
    example = section_example(path) if _is_section(path) else about.example
    doc = about.doc.rstrip(".")
    return f"write {path[-1]}: {flow(example)} ({doc})" if example else doc


def _such_as(path: Path) -> str:
    """`, such as 128`: an example of the field, or of an item of it."""
    about = about_at(path)
    example = about.example if about else None
    if isinstance(path[-1], int) and isinstance(example, list):
        example = example[0]
    return "" if example is None else f", such as {flow(example)}"


def _unknown_key(document: Document, path: Path, names: list[str]) -> Problem:
    key, near = str(path[-1]), _near_key(document, path, names)
    if near and document.has((*path[:-1], near)):
        hint, near = f"{near} is set too: remove this one", None
    elif near:
        hint = f"write {near}"
    elif homes := _homes(key):
        hint = f"{key} belongs to {' or '.join(homes)}"
    elif field := field_called(key):
        hint = f"here it is {_part_of(key, field)}"
    elif key in attrs.fields_dict(Spec):
        hint = f"{key} belongs to the top of the spec"
    else:
        hint = f"the fields are {', '.join(names)}"
    where = dotted(path[:-1]) or "the spec"
    place = document.keys.get(path) or document.section(path)
    message = f"{where} has no field {_shown(key)}"
    at_key = path in document.keys and place.whole
    return KEY_UNKNOWN.problem(place, message, hint, path, near if at_key else None)


def _near_key(document: Document, path: Path, names: list[str]) -> str | None:
    """The most similar field of the same section, if there is one."""
    key, section = str(path[-1]), path[:-1]
    above, _, name = (field_called(key) or "").rpartition(".")
    if is_part(key):
        return None
    if name and above == dotted(section):
        return name
    if name or _homes(key):
        return None  # it is a field of another section
    # A key with a single value was not meant as a section.
    is_section = isinstance(document.at(path), Mapping)
    fields = [name for name in names if is_section or not _is_section((*section, name))]
    return nearest(key, fields, cutoff=0.7)


def _part_of(key: str, field: str) -> str:
    if not is_part(key):
        return field
    about = about_at(tuple(field.split(".")))
    return f"part of {field}" + (f": {flow(about.example)}" if about and about.example else "")


def _is_section(path: Path) -> bool:
    cls: Any = Spec
    for step in path:
        if not is_section(cls) or step not in attrs.fields_dict(cls):
            return False
        cls = section_class(attrs.fields_dict(cls)[step].type)
    return is_section(cls)


def _order(place: Place) -> tuple[int, int]:
    return place.line, place.column


def about_at(path: Path) -> About | None:
    """The documentation of the field at a path, or None."""
    cls: Any = Spec
    documented: About | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if not is_section(cls) or step not in attrs.fields_dict(cls):
            return None
        attribute = attrs.fields_dict(cls)[step]
        documented = about_field(attribute)
        cls = section_class(attribute.type)
    return documented


def _homes(key: str) -> list[str]:
    """The sections that have a field of this name."""
    sections = {name: section_class(a.type) for name, a in attrs.fields_dict(Spec).items()}
    return [
        name for name, cls in sections.items() if is_section(cls) and key in attrs.fields_dict(cls)
    ]


def _shown(value: object, limit: int = 60) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "null"
    elif isinstance(value, list):
        text = f"[{', '.join(_shown(item) for item in value[:8])}]"
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
    text = f'"{_shown(value)}"' if isinstance(value, str) else _shown(value)
    return f"{kind} {text}".strip()
