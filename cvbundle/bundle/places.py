"""What a bundle leaves to the machine: where its model, clips and runs are, how many share it.

`local/paths.json` has it as the spec said it; the environment goes before that.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvbundle.bundle.layout import MODEL, PATHS
from cvbundle.bundle.runs import runs_folder
from cvbundle.problems import UserError
from cvbundle.spec.fields import Field, local_fields
from cvbundle.spec.limits import Choice, Limit

Value = str | int | float | None
"""Of a field that is about this machine; None where nobody has said."""


def bundle_runs(bundle: Path) -> Path:
    """The folder of a bundle's runs on this machine."""
    return runs_folder(bundle, local_paths(bundle)["output.dir"])


def local_paths(bundle: Path) -> dict[str, str | None]:
    """Where things are on this machine, by the dotted name of the field.

    A model of the hub is where the hub keeps it, unless someone says otherwise.
    """
    recorded = _recorded(bundle)
    fields = [field for field in local_fields() if field.is_free_text]
    told = {field.name: _value(field, recorded) for field in fields}
    paths = {name: None if value is None else str(value) for name, value in told.items()}
    return paths | {"model.path": paths["model.path"] or _repository(bundle)}


def num_machines(bundle: Path) -> int:
    """How many machines train a bundle together.

    Raises:
        UserError: the environment says something else than a number.
    """
    value = local_settings(bundle)["launch.num_machines"]
    return 1 if value is None else int(value)


def local_settings(bundle: Path) -> dict[str, Value]:
    """Every field that is about this machine, by its dotted name.

    Raises:
        UserError: the environment has a value that the field can't have.
    """
    recorded = _recorded(bundle)
    others = {f.name: _value(f, recorded) for f in local_fields() if not f.is_free_text}
    return {**others, **local_paths(bundle)}


def with_local_settings(config: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    """A bundle's `config.json` with what it leaves to the machine; what isn't known stays out."""
    whole = {name: dict(v) if isinstance(v, dict) else v for name, v in config.items()}
    for name, value in local_settings(bundle).items():
        section, _, field = name.partition(".")
        if value is not None:
            whole[section][field] = value
    return whole


def _recorded(bundle: Path) -> Mapping[str, Value]:
    try:
        found: Mapping[str, Value] = json.loads((bundle / PATHS).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _value(field: Field, recorded: Mapping[str, Value]) -> Value:
    """What the environment says of a field, or else what was recorded when it was compiled."""
    text = os.environ.get(field.about.local)
    if not text:
        return recorded.get(field.name)
    try:
        value: Value = field.type(text)
    except ValueError:
        value = None
    if value is None or not _holds(field.limit, value):
        raise UserError(f"{field.about.local} is {text}: it has to be {field.kind}")
    return value


def _holds(limit: Limit | Choice | None, value: str | int | float) -> bool:
    if isinstance(limit, Choice):
        return value in limit.names
    return limit is None or limit.holds(value)


def _repository(bundle: Path) -> str | None:
    """The hub's repository that a bundle pins its model in."""
    try:
        hub = json.loads((bundle / MODEL).read_bytes())["hub"]
    except FileNotFoundError:
        return None
    return None if hub is None else str(hub["repository"])
