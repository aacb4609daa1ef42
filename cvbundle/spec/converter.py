"""Plain data to the classes of a spec and back: cattrs, made strict.

Its own hooks coerce (1.7 becomes 1, "no" becomes True, a word a list of letters), and validators
in `__init__` stop at the first: here types are taken as they are, and each field's validators run
while it is structured, so that every failure is reported.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import Attribute
from cattrs import Converter
from cattrs.errors import BaseValidationError, IterableValidationError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from cvbundle.spec.about import is_section
from cvbundle.spec.schema import Resolution, Spec


class WrongType(TypeError):
    """A value of another type than the field's."""

    def __init__(self, expected: str, value: object) -> None:
        self.expected = expected
        self.value = value
        super().__init__(expected)


class WrongChoice(ValueError):
    """A value that is none of the allowed ones."""

    def __init__(self, choices: tuple[str, ...], value: object) -> None:
        self.choices = choices
        self.value = value
        super().__init__(choices)


def plain(spec: Spec) -> dict[str, object]:
    """The spec as plain data, every setting explicit; `structure` gives the same spec again."""
    data: dict[str, object] = converter.unstructure(spec)
    return data


def structure_sound(data: Mapping[str, object]) -> Spec:
    """Make a spec of data that is known to be sound, such as a bundle's `config.json`.

    Raises:
        cattrs.BaseValidationError: it is not.
    """
    return converter.structure(data, Spec)


def _strict(
    expected: str, *kinds: type, refuse: tuple[type, ...] = ()
) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, refuse):
            raise WrongType(expected, value)
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WrongType("a number", value)
    # -0.0 and 0.0 mean the same, but are written differently.
    return float(value) + 0.0


def _literal(value: Any, type_: Any) -> Any:
    choices = get_args(type_)
    kinds = {type(choice) for choice in choices}
    if type(value) not in kinds:
        raise WrongType(
            "a whole number" if kinds == {int} else f"one of {', '.join(choices)}", value
        )
    if value not in choices:
        raise WrongChoice(tuple(str(choice) for choice in choices), value)
    return value


def _resolution(value: Any, _: Any) -> Resolution:
    form = "frames, height and width as FxHxW or [F, H, W]"
    if isinstance(value, str):
        try:
            return Resolution.parse(value)
        except ValueError as error:
            if "not FxHxW" in str(error):
                raise WrongType(form, value) from None
            raise
    if not isinstance(value, list) or len(value) != 3:
        raise WrongType(form, value)
    return Resolution(*_tuple(value, tuple[int, ...]))


def _tuple(value: Any, type_: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise WrongType("a list", value)
    inner = get_args(type_)[0]
    hook = converter.get_structure_hook(inner)
    items = []
    errors: list[Exception] = []
    for index, item in enumerate(value):
        try:
            items.append(hook(item, inner))
        except (TypeError, ValueError, BaseValidationError) as error:
            note = IterableValidationNote(f"item {index}", index, inner)
            error.__notes__ = [*getattr(error, "__notes__", []), note]
            errors.append(error)
    if errors:
        raise IterableValidationError("items", errors, tuple)
    return tuple(items)


def _validated(attribute: "Attribute[Any]") -> Callable[[Any, Any], Any]:
    """Structure a field's value and run its validators at once, so that each failure is its own."""

    def hook(value: Any, type_: Any) -> Any:
        result = converter.get_structure_hook(type_)(value, type_)
        if attribute.validator is not None:
            attribute.validator(None, attribute, result)
        return result

    return hook


def _section(cls: Any) -> Callable[[Any, Any], Any]:
    hooks = {a.name: override(struct_hook=_validated(a)) for a in attrs.fields(cls)}
    fill = make_dict_structure_fn(cls, converter, **hooks)  # type: ignore[arg-type]

    def hook(value: Any, type_: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongType("a section", value)
        return fill(value, type_)

    return hook


def _is_literal(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is Literal


def is_tuple(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is tuple


def _make_converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(int, _strict("a whole number", int, refuse=(bool,)))
    converter.register_structure_hook(bool, _strict("true or false", bool))
    converter.register_structure_hook(str, _strict("text", str))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Resolution, _resolution)
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(is_tuple, _tuple)
    converter.register_structure_hook_factory(is_section, _section)
    converter.register_unstructure_hook(Resolution, str)
    return converter


converter = _make_converter()
