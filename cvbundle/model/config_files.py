"""Read a model's architecture from its config files, without torch."""

import json
from pathlib import Path
from typing import Any

from attrs import asdict, fields_dict

from cvbundle.problems import UserError
from cvbundle.spec.tables.architecture import (
    Architecture,
    Scheduler,
    TextEncoder,
    Transformer,
    Vae,
)

_PARTS: tuple[tuple[str, str, type], ...] = (
    ("transformer", "transformer/config.json", Transformer),
    ("vae", "vae/config.json", Vae),
    ("text_encoder", "text_encoder/config.json", TextEncoder),
    ("scheduler", "scheduler/scheduler_config.json", Scheduler),
)


def read_architecture(folder: Path) -> Architecture:
    """Read the config files of a folder in diffusers layout.

    Raises:
        UserError: a file is missing or invalid; the message names it.
    """
    return Architecture(**{name: _part(folder / file, cls) for name, file, cls in _PARTS})


def has_config_files(folder: Path) -> bool:
    """Whether a folder has every config file that `read_architecture` reads."""
    return all((folder / file).is_file() for _, file, _ in _PARTS)


def architecture_data(architecture: Architecture) -> dict[str, Any]:
    """The architecture as plain data, for `model.json`."""
    return asdict(architecture)


# Bounds far beyond any real config: config files are untrusted, and some sizes are loop counts.
_LARGEST = 1_000_000
_MOST_LAYERS = 1_000
_MOST_STAGES = 8
_MAX_CONFIG_BYTES = 1 << 20


def _part(path: Path, cls: type) -> Any:
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_CONFIG_BYTES):
            raise UserError(f"{path}: is not a config file")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}): "
            "model.path needs a folder in diffusers layout (transformer/, vae/, …)"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not JSON") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: is not a JSON object")
    values: dict[str, Any] = {}
    for name, attribute in fields_dict(cls).items():
        if name in data:
            values[name] = _value(path, name, data[name], attribute.default)
    if values.get("num_layers", 0) > _MOST_LAYERS:
        raise _implausible(path, "num_layers", values["num_layers"])
    return cls(**values)


def _value(path: Path, name: str, value: object, default: object) -> object:
    """A config value, checked against the type of the class's default."""
    if isinstance(default, tuple):
        if (
            isinstance(value, list)
            and 0 < len(value) <= _MOST_STAGES
            and all(type(item) is int and 0 < item <= _LARGEST for item in value)
        ):
            return tuple(value)
    elif default is None:
        if value is None or (type(value) is int and 0 < value <= _LARGEST):
            return value
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, int):
        if type(value) is int and 0 < value <= _LARGEST:
            return value
        if type(value) is float and value.is_integer() and 0 < value <= _LARGEST:
            return int(value)
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LARGEST:
            return float(value)
    elif isinstance(value, type(default)):
        return value
    raise _implausible(path, name, value)


def _implausible(path: Path, name: str, value: object) -> UserError:
    return UserError(f"{path}: {name} is {repr(value)[:60]}, which no CogVideoX has")
