"""Find the value that a wrong one was probably meant to be, as it is written in a spec."""

import re

from cvbundle.problems import Path, dotted
from cvbundle.spec.converter import (
    LIST,
    NUMBER,
    SECTION,
    SIZE,
    SWITCH,
    TEXT,
    WHOLE_NUMBER,
    WrongType,
)
from cvbundle.spec.fields import all_fields
from cvbundle.spec.flow import flow
from cvbundle.spec.nearest import nearest
from cvbundle.spec.text.reader import read_scalar

_SWITCHES = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false"}
_SWITCHES["false"] = "false"


def right_type(cause: WrongType, path: Path) -> str | None:
    """The same value written as the expected type; None if that isn't possible."""
    value, expected = cause.value, cause.expected
    if expected is SECTION:
        return _as_section(value, path)
    if expected is SIZE and isinstance(value, str):
        sizes = _SIZES.fullmatch(value.strip())
        return "x".join(sizes.groups()) if sizes else None
    if path == ("tracking", "report_to") and value == "none":
        return "[]"
    if expected is LIST and isinstance(value, str) and value:
        return flow([part for part in re.split(r"[,\s]+", value) if part])
    if expected is TEXT and isinstance(value, bool | int | float):
        return f'"{flow(value)}"'
    if isinstance(value, int) and str(value) in expected.choices:
        # A name that YAML takes for a number.
        return f'"{value}"'
    if (expected is SWITCH or "true" in expected.choices) and isinstance(value, str):
        switch = _SWITCHES.get(value.strip().lower())
        return switch or nearest(value, expected.choices)
    if expected in (NUMBER, WHOLE_NUMBER) and isinstance(value, str):
        return _number(value.strip(), whole=expected is WHOLE_NUMBER)
    if expected is WHOLE_NUMBER and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


_MAIN_FIELD = {
    "model": "path",
    "data": "root",
    "training": "type",
    "optimizer": "name",
    "lr_scheduler": "name",
    "launch": "strategy",
    "output": "dir",
}
"""The field of a section that other trainers write as a single value."""


_SIZES = re.compile(r"(\d{1,6})\s*[xX×*,]\s*(\d{1,6})\s*[xX×*,]\s*(\d{1,6})", re.ASCII)
"""A resolution in a common notation."""


def _as_section(value: object, path: Path) -> str | None:
    if value is None:
        example = section_example(path)
        return flow(example) if example else None
    if not isinstance(value, str):
        return None
    name = _MAIN_FIELD.get(dotted(path))
    if name is None or not value:
        return None
    choices = next(field.choices for field in all_fields() if field.path == (*path, name))
    return flow({name: value.lower() if value.lower() in choices else value})


def _number(text: str, *, whole: bool) -> str | None:
    """The text, if it is a number as written in a spec."""
    try:
        value = read_scalar(text)
    except ValueError:
        return None
    kinds = (int,) if whole else (int, float)
    return text if isinstance(value, kinds) and not isinstance(value, bool) else None


def section_example(path: Path) -> dict[str, object]:
    """The required fields of a section, with example values."""
    inner = (field for field in all_fields() if field.path[:-1] == path)
    return {field.path[-1]: field.about.example for field in inner if field.required}


def as_slug(text: object) -> str | None:
    """The text as a valid name of an experiment, if it has enough valid characters."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", str(text).lower()).strip("-._")
    return slug if 0 < len(slug) <= 63 and flow(slug) == slug else None
