"""The JSON Schema of a spec, for completion and checks in editors.

It covers each field on its own; the rules about several fields, models and clips are those of
`cvbundle check`. Source: json-schema.org, draft 2020-12.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import attrs

from cvbundle.spec import sweep
from cvbundle.spec.fields import LISTED_IN_FILES, Field, all_fields
from cvbundle.spec.limits import Choice, Length, Limit, Pattern, Range
from cvbundle.spec.schema import Resolution

_Schema = dict[str, Any]
_STEPS_OR_EPOCHS = [
    {
        "required": ["steps"],
        "properties": {"steps": {"type": "integer"}, "epochs": {"type": "null"}},
    },
    {
        "required": ["epochs"],
        "properties": {"epochs": {"type": "integer"}, "steps": {"type": "null"}},
    },
]


def spec_schema(accepted: Sequence[str] = ()) -> _Schema:
    """The schema of a spec as plain data; `accepted` are the ids that `allow` may contain."""
    schema = _section(())
    if accepted:
        schema["properties"]["allow"]["items"] = {"enum": list(accepted)}
    schema["properties"]["sweep"] = _sweep()
    schema["properties"]["training"]["oneOf"] = _STEPS_OR_EPOCHS
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cvbundle spec",
        "description": "A CogVideoX fine-tuning experiment; `cvbundle check` checks more.",
        **schema,
    }


def _section(path: tuple[str, ...]) -> _Schema:
    inner = [field for field in all_fields() if field.path[:-1] == path]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.path[-1] for field in inner if field.required],
        "properties": {field.path[-1]: _field(field) for field in inner},
    }


def _field(field: Field) -> _Schema:
    if field.is_section:
        schema = _section(field.path)
        if field.nullable:
            schema["type"] = ["object", "null"]
    else:
        schema = _value(field.type, field.limit, field.item_limit)
        if field.path in LISTED_IN_FILES:
            schema = {"anyOf": [schema, {"type": "string", "minLength": 1}]}
        if field.nullable:
            schema = _or_null(schema)
    return {**schema, **_described(field)}


def _described(field: Field) -> _Schema:
    about = field.about
    text = about.doc
    if about.default:
        text = f"{text} Default: {about.default}."
    described: _Schema = {"description": text}
    if field.default is not attrs.NOTHING and not field.is_section:
        described["default"] = _plain(field.default)
    if about.example is not None:
        described["examples"] = [_plain(about.example)]
    return described


def _value(type_: Any, limit: Limit | Choice | None, item_limit: Limit | None) -> _Schema:
    if type_ is Resolution:
        return {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,6}x[0-9]{1,6}x[0-9]{1,6}$"},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1},
                    "minItems": 3,
                    "maxItems": 3,
                },
            ]
        }
    if isinstance(limit, Choice):
        return {"enum": list(limit.names)}
    origin: Any = get_origin(type_)
    if origin is Literal:
        return {"enum": list(get_args(type_))}
    if origin is tuple:
        items = _value(get_args(type_)[0], item_limit, None)
        return {"type": "array", "items": items, **_bounds(limit, "Items")}
    kind = {bool: "boolean", int: "integer", float: "number", str: "string"}[type_]
    return {"type": kind, **_bounds(limit, "Length")}


def _bounds(limit: Limit | None, counted: str) -> _Schema:
    """A limit as JSON Schema keywords; those of a length end in `counted`: Items or Length."""
    match limit:
        case Range():
            return _keywords(
                minimum=limit.at_least,
                exclusiveMinimum=limit.more_than,
                maximum=limit.at_most,
                exclusiveMaximum=limit.less_than,
            )
        case Length():
            least = limit.at_least or None
            return _keywords(**{f"min{counted}": least, f"max{counted}": limit.at_most})
        case Pattern():
            return {"pattern": f"^(?:{limit.regex})$"}
        case None:
            return {}


def _or_null(schema: _Schema) -> _Schema:
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [*schema["anyOf"], {"type": "null"}]}


def _sweep() -> _Schema:
    values = {name: {"$ref": _pointer(name)} for name in sweep.sweepable()}
    lists = {name: {"type": "array", "minItems": 1, "items": values[name]} for name in values}
    point = {"type": "object", "additionalProperties": False, "minProperties": 1}
    return {
        **_described(sweep.FIELD),
        "anyOf": [
            {**point, "properties": lists},
            {"type": "array", "minItems": 1, "items": {**point, "properties": values}},
            {"type": "null"},
        ],
    }


def _pointer(name: str) -> str:
    """The JSON pointer to a field's schema (RFC 6901)."""
    return "#/" + "/".join(f"properties/{step}" for step in name.split("."))


def _keywords(**keywords: object) -> _Schema:
    return {name: _plain(value) for name, value in keywords.items() if value is not None}


def _plain(value: object) -> object:
    """The value for JSON; whole floats become integers, so that an editor writes 1, not 1.0."""
    if isinstance(value, Resolution):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value
