"""The state of a run: written whole, listed with digests, and read back only if they hold.

Only safetensors and JSON, so that nothing of a stranger's checkpoint is executed. Random states
are not part of it: every draw is a function of the seed and the step (see `randomness`).
"""

import hashlib
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from cvbundle.bundle.layout import SUMS
from cvbundle.files.digest import json_file, sha256_file
from cvbundle.files.durable import new_folder, remove_tree, write_bytes
from cvbundle.training.sharding import part
from cvbundle.training.tensors import StoredTensors, safetensors_pieces, safetensors_size

_PREFIX = "step-"
_NAME = re.compile(rf"{_PREFIX}[0-9]+")
_STATE = "state.json"
_WEIGHTS = "weights.safetensors"
_OPTIMIZER = "optimizer.safetensors"
_AVERAGE = "average.safetensors"
_FILES = frozenset((_STATE, _WEIGHTS, _OPTIMIZER, _AVERAGE))
_METADATA = {"format": "pt"}


@frozen(kw_only=True)
class State:
    """A run after `step` optimizer steps."""

    step: int
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    """The tensors of the optimizer's state, by `index.key`."""
    settings: Mapping[str, Any]
    """The rest of the optimizer's state, which JSON can hold."""
    average: Mapping[str, Tensor] | None
    scaler: Mapping[str, float]
    """State of the fp16 loss scaler; empty in other types."""


def save(folder: Path, state: State, *, limit: int | None) -> Path:
    """Write a checkpoint, then remove the oldest beyond `limit`.

    Processes that share the state's tensors call `lend` meanwhile.

    Raises:
        OSError: the disk takes no more; its file name is the checkpoint's.
    """
    final = folder / f"{_PREFIX}{state.step:08d}"
    pieces = _pieces(state)
    try:
        if final.is_dir():
            # Of an earlier attempt, which did not go on from it: it was refused.
            _remove(final)
        with new_folder(final) as temporary:
            _write(temporary, pieces)
    except OSError as error:
        # A full disk doesn't say which one it is.
        error.filename = error.filename or str(final)
        raise
    finally:
        # Other processes send their parts of all that is left.
        deque(pieces, maxlen=0)
    if limit is not None:
        for path in list_checkpoints(folder)[:-limit]:
            _remove(path)
    return final


def lend(state: State) -> None:
    """Send this process's parts of a state to the one that saves it."""
    deque(_pieces(state), maxlen=0)


def _remove(path: Path) -> None:
    """Rename, then remove: an interrupted removal leaves no partial checkpoint under its name."""
    doomed = path.with_name(f".{path.name}.removed")
    remove_tree(doomed)
    path.rename(doomed)
    remove_tree(doomed)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    folders = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(folders, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def newest(folder: Path, refuse: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that holds what was written; `refuse` hears of those that don't."""
    for path in reversed(list_checkpoints(folder)):
        wrong = verify(path)
        if wrong is None:
            return path
        refuse(f"checkpoint {path.name} is not used: {wrong}")
    return None


def identity(path: Path) -> str | None:
    """What tells a checkpoint's content from every other's; None if it isn't there."""
    try:
        return f"{path.name} {sha256_file(path / SUMS)}"
    except OSError:
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
    if foreign := set(listed) - _FILES:
        return f"its {SUMS} names {min(foreign)!r}, which no checkpoint has"
    for name, digest in listed.items():
        try:
            if sha256_file(path / name) != digest:
                return f"{name} has other bytes than were written"
        except OSError:
            return f"{name} is missing"
    try:
        _read_record(path)
    except (ValueError, LookupError, TypeError, RecursionError):
        return f"{_STATE} isn't what a trainer writes"
    return None


def tensor_files(state: State) -> dict[str, Mapping[str, Tensor]]:
    """The tensors of a checkpoint by their file, in the order in which the files are written."""
    files = {_WEIGHTS: state.weights, _OPTIMIZER: state.moments}
    if state.average is not None:
        files[_AVERAGE] = state.average
    return files


def _pieces(state: State) -> Iterator[tuple[str, bytes | memoryview]]:
    """Everything that a checkpoint holds, as names of files and what comes next in each."""
    for name, tensors in tensor_files(state).items():
        for piece in safetensors_pieces(tensors, _METADATA):
            yield name, piece
    yield _STATE, _record(state)


def size_on_disk(state: State) -> int:
    """Bytes of the files of a checkpoint, but for the list of their digests."""
    files = tensor_files(state).values()
    return sum(safetensors_size(each, _METADATA) for each in files) + len(_record(state))


def _record(state: State) -> bytes:
    return json_file(
        {"step": state.step, "optimizer": state.settings, "scaler": dict(state.scaler)}
    )


def _write(folder: Path, pieces: Iterator[tuple[str, bytes | memoryview]]) -> None:
    sums = {}
    for name, group in groupby(pieces, key=itemgetter(0)):
        digest = hashlib.sha256()
        with (folder / name).open("wb") as file:
            for _, piece in group:
                file.write(piece)
                digest.update(piece)
        sums[name] = digest.hexdigest()
    lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    write_bytes(folder / SUMS, lines.encode())


def read(path: Path) -> State:
    """A checkpoint that was verified; its tensors are read when they are asked for."""
    record = _read_record(path)
    average = path / _AVERAGE
    return State(
        step=record["step"],
        weights=StoredTensors(path / _WEIGHTS),
        moments=StoredTensors(path / _OPTIMIZER),
        settings=record["optimizer"],
        average=StoredTensors(average) if average.is_file() else None,
        scaler=record["scaler"],
    )


def _read_record(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((path / _STATE).read_bytes())
    kinds = {"step": int, "optimizer": dict, "scaler": dict}
    for name, kind in kinds.items():
        if not isinstance(record[name], kind):
            raise TypeError(name)
    return record


def optimizer_state(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as a checkpoint has it: `moments` and `settings`."""
    current = optimizer.state_dict()
    moments: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in current["state"].items():
        rest[str(index)] = {}
        for key, value in values.items():
            if isinstance(value, Tensor):
                moments[f"{index}.{key}"] = value
            else:
                rest[str(index)][key] = value
    groups = [
        {key: _stored(value) for key, value in group.items() if key != "params"}
        for group in current["param_groups"]
    ]
    return moments, {"state": rest, "param_groups": groups}


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: State) -> None:
    """Give an optimizer the state that was saved, for the parameters it has."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in saved.settings["state"].items()
    }
    for name in saved.moments:
        index, _, key = name.partition(".")
        # Not the file's own memory: it may be pruned.
        tensor = saved.moments[name].clone()
        like = parameters[int(index)]
        same = tensor.shape == like.shape
        state.setdefault(int(index), {})[key] = part(tensor, like) if same else tensor
    current = optimizer.state_dict()
    groups = []
    for group, old in zip(current["param_groups"], saved.settings["param_groups"], strict=True):
        values = {key: _read_back(value) for key, value in old.items()}
        groups.append({**group, **values, "params": group["params"]})
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _stored(value: object) -> object:
    """A setting of an optimizer as JSON can hold it: prodigy's growth rate is infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _read_back(value: object) -> object:
    if isinstance(value, dict):
        return float(value["float"])
    # JSON has lists where an optimizer has tuples.
    return tuple(value) if isinstance(value, list) else value
