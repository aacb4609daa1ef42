"""The settings that a bundle leaves to the machine: where its inputs and runs are, and the like.

`local/paths.json` has them as they were when the bundle was compiled or unpacked. Environment
variables override them.
"""

import os
from collections.abc import Mapping
from typing import Any

from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import UserError
from cvbundle.spec.local_fields import LocalField, local_fields

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


def _value(field: LocalField, recorded: Mapping[str, Any], place: str) -> Value:
    if text := os.environ.get(field.variable):
        try:
            return field.parse(text)
        except ValueError as error:
            raise UserError(f"{field.variable} {error}") from None
    value: Value = recorded.get(field.name)
    accepted = (int, float) if field.type is float else field.type
    if value is not None and not isinstance(value, accepted):
        raise DamagedFile(f"{place}: {field.name} is not {field.expected}: set {field.variable}")
    return value
