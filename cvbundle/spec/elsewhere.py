"""Look up the fields of a spec by their names in other trainers."""

import functools
from collections.abc import Mapping

from cvbundle.spec.fields import all_fields


@functools.cache
def _fields() -> Mapping[str, str]:
    """Our field names, by their names in other trainers."""
    return {
        name: field.name
        for field in all_fields()
        for name in (*field.about.elsewhere, *field.about.parts)
    }


@functools.cache
def _parts() -> frozenset[str]:
    return frozenset(name for field in all_fields() for name in field.about.parts)


def is_part(key: str) -> bool:
    """Whether another trainer's name means a part of one of our fields."""
    return key.lower() in _parts()


def field_called(key: str) -> str | None:
    """The field that other trainers call `key`, or `section_field` as in `checkpointing_steps`."""
    key = key.lower()
    if key in _fields():
        return _fields()[key]
    named = (field for field in all_fields() if len(field.path) == 2)
    return next((field.name for field in named if "_".join(field.path) == key), None)
