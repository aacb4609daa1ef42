"""The documentation of a spec's fields, kept in the metadata of the fields."""

from typing import Any, get_args

from attrs import Attribute, fields, frozen, has


@frozen
class About:
    """The documentation of a field, for `explain`, the JSON Schema and docs/spec.md."""

    doc: str
    example: object
    """A valid value; replaces a missing or wrong one, so that the other checks can run."""
    default: str = ""
    """How the default is determined, if it is not a constant."""
    local: str = ""
    """For a field about this machine, which is not hashed: the environment variable that overrides
    the spec's value."""
    elsewhere: tuple[str, ...] = ()
    """Its names in other trainers."""
    parts: tuple[str, ...] = ()
    """Names of parts of it in other trainers, whose values can't be copied as they are."""


def about(
    doc: str,
    example: object,
    *,
    default: str = "",
    local: str = "",
    elsewhere: tuple[str, ...] = (),
    parts: tuple[str, ...] = (),
) -> dict[str, About]:
    """The metadata of a field."""
    return {"about": About(doc, example, default, local, elsewhere, parts)}


def about_field(attribute: "Attribute[Any]") -> About:
    """The documentation of a field of a spec class."""
    documented: About = attribute.metadata["about"]
    return documented


def is_section(cls: Any) -> bool:
    """Whether a field's type is a section: a class with documented fields."""
    return has(cls) and any("about" in attribute.metadata for attribute in fields(cls))


def section_class(type_: Any) -> Any:
    """The section class in a field's type, without `| None`; else the type itself."""
    options: list[Any] = [option for option in get_args(type_) if is_section(option)]
    return options[0] if options else type_
