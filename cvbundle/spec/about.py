"""What the fields of a spec mean: carried by the fields themselves, as metadata."""

from typing import Any, get_args

from attrs import Attribute, fields, frozen, has


@frozen
class About:
    """What a field means, for `explain`, the JSON Schema and the documentation."""

    doc: str
    example: object
    """A sound value; stands in for one that is missing or wrong, so that other checks go on."""
    default: str = ""
    """How the default is decided, where it is not a constant."""
    local: str = ""
    """Of a field that is about this machine, and so no part of what is hashed: the environment
    variable that goes before what the spec said."""
    elsewhere: tuple[str, ...] = ()
    """What other trainers call it."""
    parts: tuple[str, ...] = ()
    """What other trainers call a part of it, so that the value is another one."""


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
    """What a field of a spec class means."""
    found: About = attribute.metadata["about"]
    return found


def is_section(cls: Any) -> bool:
    """Whether a field's type is a section: a class whose fields say what they mean."""
    return has(cls) and any("about" in attribute.metadata for attribute in fields(cls))


def section_class(type_: Any) -> Any:
    """The section behind a field's type, through `| None`; else the type itself."""
    options: list[Any] = [option for option in get_args(type_) if is_section(option)]
    return options[0] if options else type_
