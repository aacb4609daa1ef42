"""Replace missing or invalid values with examples, so that the other checks can run."""

from collections.abc import Mapping
from typing import Any, cast

import attrs
from attrs import Attribute

from cvbundle.problems import Path
from cvbundle.spec.about import about_field, is_section, section_class
from cvbundle.spec.converter import is_tuple
from cvbundle.spec.schema import Spec


def copied(data: Mapping[str, object]) -> dict[str, object]:
    return cast(dict[str, object], _copy(data))


def _copy(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(inner) for inner in value]
    return value


def stand_in(data: dict[str, object], path: Path) -> None:
    """Put the field's example at `path`, or remove the value if the field has a default."""
    cls: Any = Spec
    target: Any = data
    for depth, step in enumerate(path):
        if isinstance(step, int) or not is_section(cls) or step not in attrs.fields_dict(cls):
            _drop(target, step)
            return
        attribute = attrs.fields_dict(cls)[step]
        cls = section_class(attribute.type)
        last = depth == len(path) - 1
        inner = target.get(step) if isinstance(target, dict) else None
        index = path[depth + 1] if not last else None
        if isinstance(index, int) and isinstance(inner, list) and is_tuple(attribute.type):
            # The other items and their indices stay the same.
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
    cls: Any = section_class(attribute.type)
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
