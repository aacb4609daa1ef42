"""Convert plain data to the classes of a spec and back, with a strict cattrs converter.

The hooks of cattrs coerce (1.7 becomes 1, "no" becomes True, a word a list of letters), and
validators in `__init__` stop at the first error. Here nothing is coerced, and each field's
validators run while it is structured, so that every error is reported.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import Attribute, frozen
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from cvbundle.problems import Path
from cvbundle.spec.about import is_section
from cvbundle.spec.limits import Choice, Items, WrongChoice
from cvbundle.spec.schema import Resolution, Spec


@frozen
class Expected:
    """The expected kind of value, as worded in a message."""

    words: str
    written: str = ""
    """How to write it, if that is shorter."""
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.words


WHOLE_NUMBER = Expected("a whole number")
NUMBER = Expected("a number")
SWITCH = Expected("true or false")
TEXT = Expected("text")
LIST = Expected("a list")
SECTION = Expected("a section")
SIZE = Expected("frames, height and width as FxHxW or [F, H, W]", written="FxHxW or [F, H, W]")


class WrongType(TypeError):
    """A value of another type than the field's."""

    def __init__(self, expected: Expected, value: object) -> None:
        self.expected = expected
        self.value = value
        super().__init__(expected)


def plain(spec: Spec) -> dict[str, object]:
    """The spec as plain data with every setting explicit; `structure_config` reverses it."""
    data: dict[str, object] = converter.unstructure(spec)
    return data


def structure_config(data: Mapping[str, object]) -> Spec:
    """Make a spec of a resolved config, such as a bundle's `config.json`.

    Raises:
        cattrs.BaseValidationError: the config is not valid.
    """
    return converter.structure(data, Spec)


def failures(error: BaseException, path: Path = ()) -> Iterator[tuple[Path, BaseException]]:
    """Each failure in an error of cattrs, with the path of its value; `path` is that of the top."""
    if not isinstance(error, BaseValidationError):
        yield path, error
        return
    for cause in error.exceptions:
        step = _step(cause)
        yield from failures(cause, path if step is None else (*path, step))


def _step(error: BaseException) -> str | int | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return note.index
    return None


def _strict(
    expected: Expected, *kinds: type, refuse: tuple[type, ...] = ()
) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, refuse):
            raise WrongType(expected, value)
        return value

    return hook


def _float(value: Any, _: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise WrongType(NUMBER, value)
    # -0.0 and 0.0 are equal, but serialized differently.
    return float(value) + 0.0


def _one_of(choices: tuple[str, ...]) -> Expected:
    return Expected(f"one of {', '.join(choices)}", choices=choices)


def _literal(value: Any, type_: Any) -> Any:
    choices = get_args(type_)
    kinds = {type(choice) for choice in choices}
    words = tuple(map(_word, choices))
    # Of a switch with a word beside it, another word may be a switch in quotes.
    is_switch = bool in kinds
    if type(value) not in kinds or (is_switch and value not in choices):
        raise WrongType(WHOLE_NUMBER if kinds == {int} else _one_of(words), value)
    if value not in choices:
        raise WrongChoice(words, value)
    return value


def _word(choice: object) -> str:
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def _resolution(value: Any, _: Any) -> Resolution:
    if isinstance(value, str):
        sizes = Resolution.parse(value)
        if sizes is None:
            raise WrongType(SIZE, value)
        return sizes
    if not isinstance(value, list) or len(value) != 3:
        raise WrongType(SIZE, value)
    return Resolution(*_tuple(value, tuple[int, ...]))


def _tuple(value: Any, type_: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise WrongType(LIST, value)
    inner = get_args(type_)[0]
    hook = converter.get_structure_hook(inner)
    items = []
    errors: list[Exception] = []
    for index, item in enumerate(value):
        try:
            items.append(hook(item, inner))
        except (TypeError, ValueError, BaseValidationError) as error:
            errors.append(_at_item(error, index, inner))
    _raise_all(errors)
    return tuple(items)


def _at_item(error: Exception, index: int, type_: Any) -> Exception:
    """The error with a note of the list item that it belongs to."""
    note = IterableValidationNote(f"item {index}", index, type_)
    error.__notes__ = [*getattr(error, "__notes__", []), note]
    return error


def _raise_all(errors: list[Exception]) -> None:
    if errors:
        raise IterableValidationError("items", errors, tuple)


def _validated(attribute: "Attribute[Any]") -> Callable[[Any, Any], Any]:
    """Structure a field's value and run its validators, so that each error is reported."""

    def hook(value: Any, type_: Any) -> Any:
        limit = attribute.validator
        is_left_open = value is None and type(None) in get_args(type_)
        if isinstance(limit, Choice) and not (isinstance(value, str) or is_left_open):
            raise WrongType(_one_of(limit.names), value)
        result = converter.get_structure_hook(type_)(value, type_)
        if isinstance(limit, Items):
            _raise_all([_at_item(e, i, type_) for i, e in limit.broken(result or ())])
        if limit is not None:
            limit(None, attribute, result)
        return result

    return hook


def _section(cls: Any) -> Callable[[Any, Any], Any]:
    """Structure a section by its fields.

    cattrs would generate and compile a function for each class, which takes longer than a spec.
    """
    hooks = {a.name: (a, _validated(a)) for a in attrs.fields(cls)}

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongType(SECTION, value)
        values: dict[str, Any] = {}
        errors: list[Exception] = []
        for name, (attribute, structured) in hooks.items():
            try:
                if name in value:
                    values[name] = structured(value[name], attribute.type)
                elif attribute.default is attrs.NOTHING:
                    raise KeyError(name)
            except (KeyError, TypeError, ValueError, BaseValidationError) as error:
                note = AttributeValidationNote(f"field {name}", name, attribute.type)
                error.__notes__ = [*getattr(error, "__notes__", []), note]
                errors.append(error)
        if unknown := value.keys() - hooks.keys():
            errors.append(ForbiddenExtraKeysError("", cls, unknown))
        if errors:
            raise ClassValidationError(f"While structuring {cls.__name__}", errors, cls)
        return cls(**values)

    return hook


def _is_literal(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is Literal


def is_tuple(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is tuple


def _make_converter() -> Converter:
    # Sections refuse unknown keys themselves; this is for the records of bundles and runs.
    converter = Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, _strict(WHOLE_NUMBER, int, refuse=(bool,)))
    converter.register_structure_hook(bool, _strict(SWITCH, bool))
    converter.register_structure_hook(str, _strict(TEXT, str))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Resolution, _resolution)
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_func(is_tuple, _tuple)
    converter.register_structure_hook_factory(is_section, _section)
    converter.register_unstructure_hook(Resolution, str)
    return converter


converter = _make_converter()
