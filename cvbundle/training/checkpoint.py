"""The state of a run: written whole, listed with digests, and read back only if they hold.

Only safetensors and JSON, so that nothing of a stranger's checkpoint is executed. Random states
are not part of it: every draw is a function of the seed and the step (see `randomness`).
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from safetensors.torch import load_file
from torch import Tensor

from cvbundle.bundle.layout import SUMS
from cvbundle.digest import json_file, sha256_file
from cvbundle.durable import new_folder, remove_tree, write_bytes
from cvbundle.training.tensors import safetensors_bytes

_PREFIX = "step-"
_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "average.safetensors"


@frozen(kw_only=True)
class State:
    """A run after `step` optimizer steps."""

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    """An optimizer's `state_dict`."""
    average: Mapping[str, Tensor] | None
    scaler: Mapping[str, float]
    """State of the fp16 loss scaler; empty in other types."""


def save(folder: Path, state: State, *, limit: int | None) -> Path:
    """Write a checkpoint, then remove the oldest beyond `limit`."""
    final = folder / f"{_PREFIX}{state.step:08d}"
    if final.is_dir() and verify(final) is not None:
        _remove(final)
    if not final.is_dir():
        try:
            with new_folder(final) as temporary:
                _write(temporary, state)
        except OSError as error:
            # A full disk doesn't say which one it is.
            error.filename = error.filename or str(final)
            raise
    if limit is not None:
        for path in list_checkpoints(folder)[:-limit]:
            _remove(path)
    return final


def _remove(path: Path) -> None:
    """Renamed first: a removal that is cut off leaves no half checkpoint under its name."""
    doomed = path.with_name(f".{path.name}.removed")
    remove_tree(doomed)
    path.rename(doomed)
    remove_tree(doomed)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.name.removeprefix(_PREFIX).isdigit() and path.name.startswith(_PREFIX)
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def newest(folder: Path, refuse: Callable[[str], None]) -> State | None:
    """The newest checkpoint that holds what was written; `refuse` hears of those that don't."""
    for path in reversed(list_checkpoints(folder)):
        wrong = verify(path)
        if wrong is None:
            return _read(path)
        refuse(f"checkpoint {path.name} is not used: {wrong}")
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left half written or half removed."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(f".{_PREFIX}"):
                remove_tree(path)


def verify(path: Path) -> str | None:
    """What is wrong with a checkpoint's files; None if nothing is."""
    try:
        lines = (path / SUMS).read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"it has no {SUMS}"
    parts = (line.partition("  ") for line in lines)
    listed = {name: digest for digest, _, name in parts}
    if _STATE not in listed:
        return f"its {SUMS} is cut off"
    for name, digest in listed.items():
        try:
            if sha256_file(path / name) != digest:
                return f"{name} has other bytes than were written"
        except OSError:
            return f"{name} is missing"
    return None


def _write(folder: Path, state: State) -> None:
    tensors, rest = _split(state.optimizer["state"])
    _put(folder / _WEIGHTS, state.weights)
    _put(folder / _OPTIMIZER, tensors)
    if state.average is not None:
        _put(folder / _AVERAGE, state.average)
    groups = [
        {key: _stored(value) for key, value in group.items() if key != "params"}
        for group in state.optimizer["param_groups"]
    ]
    record = {
        "step": state.step,
        "optimizer": {"state": rest, "param_groups": groups},
        "scaler": dict(state.scaler),
    }
    (folder / _STATE).write_bytes(json_file(record))
    names = sorted(path.name for path in folder.iterdir())
    sums = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in names)
    write_bytes(folder / SUMS, sums.encode())


def _read(path: Path) -> State:
    record = json.loads((path / _STATE).read_bytes())
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in record["optimizer"]["state"].items()
    }
    for name, tensor in load_file(path / _OPTIMIZER).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    average = path / _AVERAGE
    return State(
        step=record["step"],
        weights=load_file(path / _WEIGHTS),
        optimizer={"state": state, "param_groups": record["optimizer"]["param_groups"]},
        average=load_file(average) if average.is_file() else None,
        scaler=record["scaler"],
    )


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimizer the state that was saved, for the parameters it has."""
    current = optimizer.state_dict()
    groups = []
    for group, old in zip(current["param_groups"], saved["param_groups"], strict=True):
        values = {key: _read_back(value) for key, value in old.items()}
        groups.append({**group, **values, "params": group["params"]})
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _stored(value: Any) -> Any:
    """A setting of an optimizer as JSON can hold it: prodigy's growth rate is infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _read_back(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"])
    # JSON has lists where an optimizer has tuples.
    return tuple(value) if isinstance(value, list) else value


def _split(
    state: Mapping[int, Mapping[str, Any]],
) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """An optimizer's state as tensors by `index.key`, and what is left, which JSON can hold."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in state.items():
        rest[str(index)] = {}
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = value
            else:
                rest[str(index)][key] = value
    return tensors, rest


def _put(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.write_bytes(safetensors_bytes(tensors, {"format": "pt"}))
