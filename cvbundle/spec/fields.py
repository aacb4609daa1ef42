"""Every field of a spec as data, for `explain`, the JSON Schema and docs/spec.md."""

import functools
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import Attribute, frozen

from cvbundle.problems import dotted
from cvbundle.spec.about import About, about_field, is_section
from cvbundle.spec.flow import flow
from cvbundle.spec.limits import Choice, Items, Length, Limit, Pattern, Range, bound_text
from cvbundle.spec.schema import Resolution, Spec

FieldPath = tuple[str, ...]

LISTED_IN_FILES: frozenset[FieldPath] = frozenset(
    (("validation", "prompts"), ("validation", "images"))
)
"""Lists that may be given as the path of a text file; see `resolve.with_listed`."""
NULL_FOR_DEFAULT: frozenset[FieldPath] = frozenset((("model", "name"), ("lora",)))
"""Fields that accept null for the default, though their type doesn't."""


class Sweep:
    """The type of `sweep`, which is not a field of a class: it is removed when points are made."""


@frozen
class Field:
    """One field, or one section, of a spec."""

    path: FieldPath
    type: Any
    """Without `None`; see `nullable`."""
    nullable: bool
    about: About
    default: object
    """`attrs.NOTHING` if there is none, or if it is not a constant."""
    limit: Limit | Choice | None = None
    """Of the value, or of a list's length."""
    item_limit: Limit | None = None

    @property
    def name(self) -> str:
        """The dotted name: `lora.rank`."""
        return dotted(self.path)

    @property
    def is_section(self) -> bool:
        """Whether it contains fields."""
        return is_section(self.type)

    @property
    def required(self) -> bool:
        """Whether a spec must set it."""
        return self.default is attrs.NOTHING and not self.about.default

    @property
    def choices(self) -> tuple[object, ...]:
        """The values of an enumeration, or of a list's items."""
        if isinstance(self.limit, Choice):
            return self.limit.names
        for type_ in (self.type, self.item):
            if _origin(type_) is Literal:
                return get_args(type_)
        return ()

    @property
    def is_free_text(self) -> bool:
        """Whether it is text that is no name from a table: of this machine, a path or a hub id."""
        return self.type is str and not self.choices

    @property
    def item(self) -> Any:
        """The type of a list's items; None if it isn't a list."""
        return get_args(self.type)[0] if _origin(self.type) is tuple else None

    @property
    def kind(self) -> str:
        """The type and its limits in words."""
        text = _kind(self.type, self.limit, self.item_limit)
        if self.path in LISTED_IN_FILES:
            text += ", or the path of a text file"
        return f"{text}, or null" if self.nullable else text

    @property
    def default_text(self) -> str:
        """The default in words; empty if the field is required."""
        if self.about.default:
            return self.about.default
        if self.default is attrs.NOTHING:
            return ""
        if self.is_section:
            return "" if self.default is not None else "null"
        return flow(self.default)


@functools.cache
def all_fields() -> tuple[Field, ...]:
    """Every section and field, a section before its fields, in the order of the classes."""
    return tuple(_walk(Spec, ()))


def _walk(cls: Any, above: FieldPath) -> Iterator[Field]:
    for attribute in attrs.fields(cls):
        field = _field(attribute, above)
        yield field
        if field.is_section:
            yield from _walk(field.type, field.path)


def _field(attribute: "Attribute[Any]", above: FieldPath) -> Field:
    path = (*above, attribute.name)
    options = get_args(attribute.type)
    optional = NoneType in options
    type_: Any = attribute.type
    if optional:
        type_ = next(option for option in options if option is not NoneType)
    default: object = attribute.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()  # type: ignore[attr-defined]
    limit, item_limit = _limits(attribute.validator)
    return Field(
        path=path,
        type=type_,
        nullable=optional or path in NULL_FOR_DEFAULT,
        about=about_field(attribute),
        default=default,
        limit=limit,
        item_limit=item_limit,
    )


def _limits(validator: Any) -> tuple[Limit | Choice | None, Limit | None]:
    """The limit of a field's value, and that of its items.

    Raises:
        TypeError: the validator is not a limit, so it can't be documented.
    """
    if isinstance(validator, Items):
        return validator.length, validator.each
    if validator is None or isinstance(validator, Range | Length | Pattern | Choice):
        return validator, None
    raise TypeError(f"{validator!r} is not a limit of cvbundle.spec.limits")


def _kind(type_: Any, limit: Limit | Choice | None, item_limit: Limit | None) -> str:
    if is_section(type_):
        return "section"
    if type_ is Sweep:
        return "section of lists, or list of sections"
    if type_ is Resolution:
        return "`FxHxW` or `[F, H, W]`"
    if isinstance(limit, Choice):
        return " | ".join(map(flow, limit.names))
    if _origin(type_) is Literal:
        return " | ".join(flow(choice) for choice in get_args(type_))
    if _origin(type_) is tuple:
        inner = _kind(get_args(type_)[0], item_limit, None)
        inner = f"({inner})" if " " in inner else inner
        return f"list of {inner}{_size(limit)}"
    name = {bool: "true or false", int: "whole number", float: "number", str: "text"}[type_]
    bounds = _bounds(limit) if isinstance(limit, Range) else []
    return f"{name} {', '.join(bounds)}" if bounds else name


def _bounds(limit: Range) -> list[str]:
    signs = {
        "≥": limit.at_least,
        ">": limit.more_than,
        "≤": limit.at_most,
        "<": limit.less_than,
    }
    return [f"{sign} {bound_text(bound)}" for sign, bound in signs.items() if bound is not None]


def _size(limit: Limit | Choice | None) -> str:
    """The allowed length of a list, in words."""
    if not isinstance(limit, Length):
        return ""
    if limit.at_most is None:
        return f", at least {limit.at_least}" if limit.at_least else ""
    if limit.at_least == limit.at_most:
        return f", exactly {limit.at_least}"
    return f", {limit.at_least} to {limit.at_most}"


def _origin(type_: Any) -> Any:
    return get_origin(type_)
