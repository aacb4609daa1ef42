"""The settings that a bundle leaves to the machine: where its inputs and runs are, and the like.

`local/paths.json` has them as they were when the bundle was compiled or unpacked. Environment
variables override them.
"""

import os
from collections.abc import Mapping
from typing import Any

from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import UserError
from cvbundle.spec.fields import Field, local_fields
from cvbundle.spec.limits import Choice, Limit

Value = str | int | float | None
"""A local setting; None if it isn't set."""


def local_settings(recorded: Mapping[str, Any], place: str) -> dict[str, Value]:
    """Every local setting by its dotted name: from the environment, or else as recorded.

    `place` is the file that `recorded` comes from.

    Raises:
        UserError: an environment variable has a value that its field can't have.
        DamagedFile: a recorded value has another type than its field.
    """
    return {field.name: _value(field, recorded, place) for field in local_fields()}


def _value(field: Field, recorded: Mapping[str, Any], place: str) -> Value:
    variable = field.about.local
    if text := os.environ.get(variable):
        try:
            value: Value = field.type(text)
        except ValueError:
            value = None
        if value is None or not _is_allowed(field.limit, value):
            raise UserError(f"{variable} is {text}: it has to be {field.kind}")
        return value
    value = recorded.get(field.name)
    accepted = (int, float) if field.type is float else field.type
    if value is not None and not isinstance(value, accepted):
        raise DamagedFile(f"{place}: {field.name} is not {field.kind}: set {variable}")
    return value


def _is_allowed(limit: Limit | Choice | None, value: str | int | float) -> bool:
    if isinstance(limit, Choice):
        return value in limit.names
    return limit is None or limit.holds(value)
