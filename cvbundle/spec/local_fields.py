"""The fields about this machine: no part of what is hashed, and read again wherever a bundle runs.

Apart from `fields`, so that the trainer reads them without what documents them.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import attrs
from attrs import frozen

from cvbundle.problems import dotted
from cvbundle.spec.about import about_field, is_section, section_class
from cvbundle.spec.converter import NUMBER, TEXT, WHOLE_NUMBER
from cvbundle.spec.limits import Choice, Limit, OutOfLimits
from cvbundle.spec.schema import Spec

Value = str | int | float
_WORDS = {int: WHOLE_NUMBER, float: NUMBER, str: TEXT}


@frozen
class LocalField:
    """A field about this machine."""

    path: tuple[str, ...]
    variable: str
    """The environment variable that overrides what was recorded."""
    type: type[Value]
    limit: Limit | Choice | None

    @property
    def name(self) -> str:
        """The dotted name: `output.dir`."""
        return dotted(self.path)

    @property
    def is_path(self) -> bool:
        """Whether it is a path, or a hub id in the place of one."""
        return self.type is str and not isinstance(self.limit, Choice)

    @property
    def expected(self) -> str:
        """The type of a value in words."""
        return str(_WORDS[self.type])

    def parse(self, text: str) -> Value:
        """The value that a text stands for.

        Raises:
            ValueError: it stands for none, or for one that is out of limits; says what is expected.
        """
        try:
            value = self.type(text)
        except ValueError:
            raise ValueError(f"must be {self.expected}, not {text}") from None
        if isinstance(self.limit, Choice):
            if value not in self.limit.names:
                raise ValueError(f"must be one of {', '.join(self.limit.names)}, not {text}")
        elif self.limit is not None and not self.limit.holds(value):
            raise ValueError(str(OutOfLimits(self.limit, value)))
        return value


@cache
def local_fields() -> tuple[LocalField, ...]:
    """All of them, in the order of the classes."""
    return tuple(_walk(Spec, ()))


def _walk(cls: Any, above: tuple[str, ...]) -> Iterator[LocalField]:
    for attribute in attrs.fields(cls):
        path = (*above, attribute.name)
        type_ = section_class(attribute.type)
        if is_section(type_):
            yield from _walk(type_, path)
        elif variable := about_field(attribute).local:
            (kind,) = {*get_args(type_), type_} & _WORDS.keys()
            yield LocalField(path, variable, kind, attribute.validator)
