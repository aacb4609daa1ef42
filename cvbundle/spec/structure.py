"""Plain data to a `Spec`, strictly, with every failure turned into a problem at its place."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, Literal, cast, get_args, get_origin

import attrs
from attrs import Attribute, frozen
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from cvbundle.problems import Path, Place, Problem, Severity, dotted
from cvbundle.spec.flow import flow
from cvbundle.spec.schema import About, Resolution, Spec, about_field, is_section
from cvbundle.spec.source import Document, read_scalar

_MAX_ROUNDS = 8


@frozen
class Structured:
    """A spec, and how far it can be trusted.

    Fields in `unsound` (and all below them) hold stand-ins for what was missing or wrong.
    """

    spec: Spec
    problems: tuple[Problem, ...]
    unsound: frozenset[Path]

    def sound(self, path: Path) -> bool:
        """Whether the value at `path`, and all of it, is what the spec says."""
        return is_sound(path, self.unsound)


def is_sound(path: Path, unsound: Set[Path]) -> bool:
    """Whether none of the `unsound` paths is `path`, above it or below it."""
    return is_known(path, unsound) and not any(bad[: len(path)] == path for bad in unsound)


def is_known(path: Path, unsound: Set[Path]) -> bool:
    """Whether neither `path` nor anything it stands in is `unsound`; parts of it may be."""
    return not any(path[:depth] in unsound for depth in range(len(path) + 1))


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


def structure(
    document: Document, data: Mapping[str, object], *, unknown: frozenset[Path] = frozenset()
) -> Structured:
    """Make a spec of `data`, which is `document.data` with defaults filled in.

    Fields in `unknown` could not be decided for a reason that is reported elsewhere: they get
    stand-ins without a problem of their own.
    """
    unsound = set(unknown | document.unsound)
    if not document.complete:
        unsound.update(_absent(document, Spec, ()))
    problems: list[Problem] = []
    remaining = _copied(data)
    for path in sorted(unsound, key=len):
        _stand_in(remaining, path)
    for _ in range(_MAX_ROUNDS):
        try:
            spec = _converter.structure(remaining, Spec)
        except BaseValidationError as error:
            for path, cause in _failures(error, ()):
                problems.extend(_problems(document, path, cause, unsound))
                for bad in _places_of(path, cause):
                    unsound.add(bad)
                    _stand_in(remaining, bad)
        else:
            return Structured(spec, tuple(problems), frozenset(unsound))
    raise AssertionError(f"no stand-ins found for {sorted(map(dotted, unsound))}")


def _absent(document: Document, cls: Any, path: Path) -> Iterator[Path]:
    """The fields that a document says nothing of, and so may have said had it been read whole."""
    for name, attribute in attrs.fields_dict(cls).items():
        inner, at = _section_class(attribute.type), (*path, name)
        if not document.has(at):
            yield at
        elif is_section(inner):
            yield from _absent(document, inner, at)


def plain(spec: Spec) -> dict[str, object]:
    """The spec as plain data, every setting explicit; `structure` gives the same spec again."""
    data: dict[str, object] = _converter.unstructure(spec)
    return data


def structure_sound(data: Mapping[str, object]) -> Spec:
    """Make a spec of data that is known to be sound, such as a bundle's `config.json`.

    Raises:
        cattrs.BaseValidationError: it is not.
    """
    return _converter.structure(data, Spec)


def _failures(error: BaseException, path: Path) -> Iterator[tuple[Path, BaseException]]:
    if not isinstance(error, BaseValidationError):
        yield path, error
        return
    for cause in error.exceptions:
        step = _step(cause)
        yield from _failures(cause, path if step is None else (*path, step))


def _step(error: BaseException) -> str | int | None:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return note.name
        if isinstance(note, IterableValidationNote):
            return note.index
    return None


def _places_of(path: Path, cause: BaseException) -> list[Path]:
    if isinstance(cause, ForbiddenExtraKeysError):
        return [(*path, key) for key in cause.extra_fields]
    return [path]


def _problems(
    document: Document, path: Path, cause: BaseException, unsound: set[Path]
) -> Iterator[Problem]:
    if isinstance(cause, ForbiddenExtraKeysError):
        known = list(attrs.fields_dict(cause.cl))
        for key in sorted(
            cause.extra_fields, key=lambda key: _order(document.section((*path, key)))
        ):
            yield _unknown_key(document, (*path, key), known)
    elif not is_known(path, unsound):
        return
    elif isinstance(cause, KeyError):
        about = _about(path)
        hint = f"write {path[-1]}: {flow(about.example)}" if about and about.example else ""
        if about:
            hint = f"{hint} ({about.doc.rstrip('.')})" if hint else about.doc
        yield _problem("value-missing", document, path, f"{dotted(path)} is missing", hint)
    elif isinstance(cause, WrongChoice):
        only = cause.choices[0] if len(cause.choices) == 1 else None
        near = only or nearest(str(cause.value), cause.choices)
        hint = f"write {near}" if near else f"one of {', '.join(cause.choices)}"
        message = f"{dotted(path)} can't be {_shown(cause.value)}"
        if not only:
            message += f": {', '.join(cause.choices)}"
        yield _problem("value-choice", document, path, message, hint, near)
    elif isinstance(cause, WrongType):
        message = f"{dotted(path)}: expected {cause.expected}, not {_described(cause.value)}"
        better = _right_type(cause)
        hint = f"write {better or cause.expected}"
        if better is None and not cause.expected.startswith("one of"):
            hint += _such_as(path)
        yield _problem("value-type", document, path, message, hint, better)
    else:
        limit = _limit(str(cause.args[0]))
        message = f"{dotted(path)}: {limit}"
        about = _about(path)
        hint = f"{about.doc.rstrip('.')}{_such_as(path)}" if about else ""
        yield _problem("value-range", document, path, message, hint)


def _such_as(path: Path) -> str:
    """`, such as 128`: a sound value of the field, or of the list that an item is in."""
    about = _about(path)
    example = about.example if about else None
    if isinstance(path[-1], int) and isinstance(example, list):
        example = example[0]
    return "" if example is None else f", such as {flow(example)}"


def _unknown_key(document: Document, path: Path, known: list[str]) -> Problem:
    key, hint = str(path[-1]), ""
    near = nearest(key, known)
    if near and document.has((*path[:-1], near)):
        hint, near = f"{near} is there too: remove this one", None
    elif near:
        hint = f"write {near}"
    elif homes := _homes(key):
        hint = f"{key} belongs to {' or '.join(homes)}"
    else:
        hint = f"known here: {', '.join(known)}"
    where = dotted(path[:-1]) or "the spec"
    place = document.keys.get(path) or document.section(path)
    message = f"{where} has no field {_shown(key)}"
    at_key = path in document.keys and place.whole
    return Problem(
        "key-unknown", Severity.ERROR, place, message, hint, path, near if at_key else None
    )


def _problem(
    rule: str,
    document: Document,
    path: Path,
    message: str,
    hint: str,
    replacement: str | None = None,
) -> Problem:
    place = document.place(path)
    if not document.has(path) or not place.whole:
        replacement = None
    return Problem(rule, Severity.ERROR, place, message, hint, path, replacement)


def _order(place: Place) -> tuple[int, int]:
    return place.line, place.column


def path_name(path: Path) -> str:
    """The field's name, without the index in a list."""
    return next(str(step) for step in reversed(path) if isinstance(step, str))


def _about(path: Path) -> About | None:
    """The documentation of the field at a path, or None."""
    cls: Any = Spec
    found: About | None = None
    for step in path:
        if isinstance(step, int):
            continue
        if not is_section(cls) or step not in attrs.fields_dict(cls):
            return None
        attribute = attrs.fields_dict(cls)[step]
        found = about_field(attribute)
        cls = _section_class(attribute.type)
    return found


def _section_class(type_: Any) -> Any:
    """The attrs class behind a field's type, through `| None`; else the type itself."""
    options: list[Any] = [option for option in get_args(type_) if is_section(option)]
    return options[0] if options else type_


def _homes(key: str) -> list[str]:
    """The sections that do have a field of this name."""
    sections = {name: _section_class(a.type) for name, a in attrs.fields_dict(Spec).items()}
    return [
        name for name, cls in sections.items() if is_section(cls) and key in attrs.fields_dict(cls)
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a misspelt one, if one is like it."""
    # Slow to import, and only a wrong word needs it.
    import difflib

    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def _shown(value: object, limit: int = 60) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "null"
    elif isinstance(value, list):
        text = f"[{', '.join(_shown(item) for item in value[:8])}]"
    else:
        text = str(value)
    return text if len(text) <= limit else text[:limit] + "…"


def _described(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    kind = "text" if isinstance(value, str) else "the number" if not isinstance(value, bool) else ""
    shown = f'"{_shown(value)}"' if isinstance(value, str) else _shown(value)
    return f"{kind} {shown}".strip()


_SWITCHES = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false"}
_SWITCHES["false"] = "false"


def _right_type(cause: WrongType) -> str | None:
    """The same value, written as the type that is wanted; None where it can't be."""
    value, expected = cause.value, cause.expected
    if "list" in expected and isinstance(value, str) and value:
        return flow([value])
    if "text" in expected and isinstance(value, bool | int | float):
        return f'"{_shown(value)}"'
    if "true or false" in expected and isinstance(value, str):
        return _SWITCHES.get(value.strip().lower())
    if "number" in expected and isinstance(value, str):
        return _number(value.strip(), whole="whole" in expected)
    if "whole" in expected and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None


def _number(text: str, *, whole: bool) -> str | None:
    """The text, where it is a number as a spec writes one."""
    try:
        value = read_scalar(text)
    except ValueError:
        return None
    kinds = (int,) if whole else (int, float)
    return text if isinstance(value, kinds) and not isinstance(value, bool) else None


def _limit(message: str) -> str:
    """A validator's message without the quoted field name before it."""
    _, found, rest = message.partition(" must ")
    if not found:
        return message
    if rest.startswith("match regex"):
        value = _shown(rest.rpartition(" (")[2].removesuffix(" doesn't)"))
        return f"{value} has characters or a length that are not allowed"
    prefix = "its length must " if message.startswith("Length") else "must "
    return (prefix + rest).replace(": ", ", not ", 1)


def _copied(data: Mapping[str, object]) -> dict[str, object]:
    return cast(dict[str, object], _copy(data))


def _copy(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(inner) for inner in value]
    return value


def _stand_in(data: dict[str, object], path: Path) -> None:
    """Put the field's example at `path`, or nothing where the field has a default."""
    cls: Any = Spec
    target: Any = data
    for depth, step in enumerate(path):
        if isinstance(step, int) or not is_section(cls) or step not in attrs.fields_dict(cls):
            _drop(target, step)
            return
        attribute = attrs.fields_dict(cls)[step]
        cls = _section_class(attribute.type)
        last = depth == len(path) - 1
        inner = target.get(step) if isinstance(target, dict) else None
        index = path[depth + 1] if not last else None
        if isinstance(index, int) and isinstance(inner, list) and _is_tuple(attribute.type):
            # The other items stay what they are, and where they are.
            if index < len(inner):
                inner[index] = cast(list[object], about_field(attribute).example)[0]
            return
        if last or isinstance(index, int) or not isinstance(inner, dict):
            _put_stand_in(target, attribute)
            return
        target = inner


def _put_stand_in(target: dict[str, object], attribute: "Attribute[Any]") -> None:
    if attribute.default is not attrs.NOTHING:
        target.pop(attribute.name, None)
        return
    cls: Any = _section_class(attribute.type)
    may_be_null = cls is not attribute.type
    if is_section(cls):
        if may_be_null:
            target[attribute.name] = None
            return
        inner: dict[str, object] = {}
        for required in attrs.fields(cls):
            if required.default is attrs.NOTHING:
                _put_stand_in(inner, required)
        target[attribute.name] = inner
    else:
        target[attribute.name] = _copy(about_field(attribute).example)


def _drop(target: Any, step: str | int) -> None:
    if isinstance(target, dict):
        target.pop(step, None)


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
    return float(value)


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
    hook = _converter.get_structure_hook(inner)
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
        result = _converter.get_structure_hook(type_)(value, type_)
        if attribute.validator is not None:
            attribute.validator(None, attribute, result)
        return result

    return hook


def _section(cls: Any) -> Callable[[Any, Any], Any]:
    hooks = {a.name: override(struct_hook=_validated(a)) for a in attrs.fields(cls)}
    fill = make_dict_structure_fn(cls, _converter, **hooks)  # type: ignore[arg-type]

    def hook(value: Any, type_: Any) -> Any:
        if not isinstance(value, dict):
            raise WrongType("a section", value)
        return fill(value, type_)

    return hook


def _is_literal(type_: Any) -> bool:
    origin: Any = get_origin(type_)
    return origin is Literal


def _is_tuple(type_: Any) -> bool:
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
    converter.register_structure_hook_func(_is_tuple, _tuple)
    converter.register_structure_hook_factory(is_section, _section)
    converter.register_unstructure_hook(Resolution, str)
    return converter


_converter = _make_converter()
