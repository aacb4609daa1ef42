"""What other trainers call the fields of a spec, so that whoever knows theirs finds ours."""

import functools
from collections.abc import Mapping

from cvbundle.spec.fields import all_fields


@functools.cache
def _fields() -> Mapping[str, str]:
    """Our field by the name that it has elsewhere."""
    return {
        name: field.name
        for field in all_fields()
        for name in (*field.about.elsewhere, *field.about.parts)
    }


@functools.cache
def _parts() -> frozenset[str]:
    return frozenset(name for field in all_fields() for name in field.about.parts)


def is_part(key: str) -> bool:
    """Whether a name of another trainer's is that of a part of one of our fields."""
    return key.lower() in _parts()


def field_called(key: str) -> str | None:
    """The field that others call `key`; `checkpointing_steps` is that of a section, too."""
    key = key.lower()
    if key in _fields():
        return _fields()[key]
    named = (field for field in all_fields() if len(field.path) == 2)
    return next((field.name for field in named if "_".join(field.path) == key), None)
