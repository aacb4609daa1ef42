"""Every field of a spec as data: what `explain`, the JSON Schema and the documentation show."""

import functools
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import Attribute, frozen

from cvbundle.problems import dotted
from cvbundle.spec.about import About, about_field, is_section
from cvbundle.spec.flow import flow
from cvbundle.spec.schema import Resolution, Spec

FieldPath = tuple[str, ...]

LISTED_IN_FILES: frozenset[FieldPath] = frozenset(
    (("validation", "prompts"), ("validation", "images"))
)
"""Lists that may be written as the path of a text file; see `resolve.with_listed`."""
NULL_FOR_DEFAULT: frozenset[FieldPath] = frozenset((("model", "name"), ("lora",)))
"""Fields where null means the default, although no resolved spec has null there by choice."""


class Sweep:
    """The type of `sweep`, which no class of the spec has: it is gone once points are made."""


@frozen
class Limits:
    """What a value must keep to beyond its type."""

    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None


@frozen
class Field:
    """One field, or one section, of a spec."""

    path: FieldPath
    type: Any
    """Without `None`; see `nullable`."""
    nullable: bool
    about: About
    default: object
    """`attrs.NOTHING` where there is none, or where it is not a constant."""
    limits: Limits
    """Of the value; of the list, for a list."""
    item_limits: Limits

    @property
    def name(self) -> str:
        """As a person writes it: `lora.rank`."""
        return dotted(self.path)

    @property
    def is_section(self) -> bool:
        """Whether it has fields of its own."""
        return is_section(self.type)

    @property
    def required(self) -> bool:
        """Whether a spec must say something here."""
        return self.default is attrs.NOTHING and not self.about.default

    @property
    def choices(self) -> tuple[object, ...]:
        """The values of an enumeration; of a list's items, for a list of them."""
        for type_ in (self.type, self.item):
            if _origin(type_) is Literal:
                return get_args(type_)
        return ()

    @property
    def item(self) -> Any:
        """The type of a list's items; None for what is no list."""
        return get_args(self.type)[0] if _origin(self.type) is tuple else None

    @property
    def kind(self) -> str:
        """The type and its limits in words."""
        text = _kind(self.type, self.limits, self.item_limits)
        if self.path in LISTED_IN_FILES:
            text += ", or the path of a text file"
        return f"{text}, or null" if self.nullable else text

    @property
    def default_text(self) -> str:
        """The default in words; empty where the field is required."""
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
    limits, item_limits = _limits(attribute.validator)
    return Field(
        path=path,
        type=type_,
        nullable=optional or path in NULL_FOR_DEFAULT,
        about=about_field(attribute),
        default=default,
        limits=limits,
        item_limits=item_limits,
    )


def _limits(validator: Any) -> tuple[Limits, Limits]:
    """What attrs' validators check, of a value and of its items.

    Raises:
        TypeError: a validator of a kind that isn't described here.
    """
    found: dict[str, Any] = {}
    of_items: dict[str, Any] = {}
    for single in _singles(validator):
        kind = type(single).__name__
        if kind == "_NumberValidator":
            found[_BOUNDS[single.compare_op]] = single.bound
        elif kind == "_MinLengthValidator":
            found["min_length"] = single.min_length
        elif kind == "_MaxLengthValidator":
            found["max_length"] = single.max_length
        elif kind == "_MatchesReValidator":
            found["pattern"] = single.pattern.pattern
        elif kind == "_DeepIterable":
            of_items |= attrs.asdict(_limits(single.member_validator)[0])
        elif kind != "_InstanceOfValidator":
            raise TypeError(f"{kind} is not described in cvbundle.spec.fields")
    return Limits(**found), Limits(**of_items)


_BOUNDS = {">=": "at_least", ">": "more_than", "<=": "at_most", "<": "less_than"}


def _singles(validator: Any) -> Iterator[Any]:
    kind = type(validator).__name__
    if validator is None:
        return
    if kind == "_AndValidator":
        for inner in validator._validators:
            yield from _singles(inner)
    elif kind == "_OptionalValidator":
        yield from _singles(validator.validator)
    else:
        yield validator


def _kind(type_: Any, limits: Limits, item_limits: Limits) -> str:
    if is_section(type_):
        return "section"
    if type_ is Sweep:
        return "section of lists, or list of sections"
    if type_ is Resolution:
        return "`FxHxW` or `[F, H, W]`"
    if _origin(type_) is Literal:
        return " | ".join(flow(choice) for choice in get_args(type_))
    if _origin(type_) is tuple:
        inner = _kind(get_args(type_)[0], item_limits, Limits())
        inner = f"({inner})" if " " in inner else inner
        return f"list of {inner}{_size(limits)}"
    name = {bool: "true or false", int: "whole number", float: "number", str: "text"}[type_]
    bounds = [
        f"{sign} {_number(bound)}"
        for sign, bound in (
            ("≥", limits.at_least),
            (">", limits.more_than),
            ("≤", limits.at_most),
            ("<", limits.less_than),
        )
        if bound is not None
    ]
    return f"{name} {', '.join(bounds)}" if bounds else name


def _size(limits: Limits) -> str:
    """How many items a list has."""
    if limits.max_length is None:
        return f", at least {limits.min_length}" if limits.min_length else ""
    if limits.min_length == limits.max_length:
        return f", exactly {limits.min_length}"
    return f", {limits.min_length or 0} to {limits.max_length}"


def _number(bound: float) -> str:
    return f"{bound:g}" if abs(bound) < 1e6 else "2^64 - 1" if bound == 2**64 - 1 else str(bound)


def _origin(type_: Any) -> Any:
    return get_origin(type_)
