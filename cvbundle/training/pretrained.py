"""The weights of a base model, put into a module that was built without memory for them.

They are what `from_pretrained` of diffusers and transformers would load, bit for bit, but nothing
is held twice on the way and nothing is passed over in silence.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from cvbundle.problems import UserError
from cvbundle.training.stored import Reader, Stored, file_order, stored_tensors

if TYPE_CHECKING:
    from diffusers.configuration_utils import ConfigMixin

M = TypeVar("M", bound="ConfigMixin")

_NAMES = ("diffusion_pytorch_model.safetensors", "model.safetensors")
"""Weights as diffusers and as transformers name them."""
_SHOWN = 3
"""Tensors that an error names."""


def empty_model(kind: type[M], folder: Path) -> M:
    """A model of diffusers as its config says, on the meta device.

    Not by accelerate's `init_empty_weights`, as diffusers does it: every weight is allocated there
    for a moment, and what remains of them in the heap is as large as the model (executed).
    """
    with torch.device("meta"):
        # Pairs are returned only to those who ask for what is left over.
        config = cast(Mapping[str, object], kind.load_config(folder, local_files_only=True))
        return cast(M, kind.from_config(dict(config)))


def stored_weights(
    module: nn.Module, folder: Path, *, unused: Iterable[str] = ()
) -> dict[str, Stored]:
    """Where the weights and buffers of a module are stored, by their names in the module.

    Stored tensors whose names match a pattern of `unused` may be left over. A weight that several
    names share is stored once.

    Raises:
        UserError: a file is missing or broken, or has other tensors than the module.
    """
    stored = _tensors(folder)
    expected = module.state_dict(keep_vars=True)
    shared: dict[int, list[str]] = {}
    for name, tensor in expected.items():
        shared.setdefault(id(tensor), []).append(name)
    matched: dict[str, Stored] = {}
    missing = []
    for names in shared.values():
        one = next((stored[name] for name in names if name in stored), None)
        if one is None:
            missing.append(names[0])
        else:
            matched |= dict.fromkeys(names, one)
    if missing:
        raise UserError(
            f"{folder} lacks {_some(missing)}, which its config.json asks for: download it again"
        )
    patterns = [re.compile(pattern) for pattern in unused]
    left = [
        name for name in set(stored) - set(expected) if not any(p.search(name) for p in patterns)
    ]
    if left:
        raise UserError(
            f"{folder} has {_some(left)}, which its config.json has no place for: "
            "these are not the weights of this model"
        )
    _check_shapes(folder, expected, matched)
    return matched


def _check_shapes(
    folder: Path, expected: Mapping[str, Tensor], matched: Mapping[str, Stored]
) -> None:
    other = sorted(name for name in matched if matched[name].shape != tuple(expected[name].shape))
    if other:
        name, more = other[0], len(other) - 1
        raise UserError(
            f"{folder} has {name} as {list(matched[name].shape)}, and its config.json asks for "
            f"{list(expected[name].shape)}{f' (and {more} more like it)' if more else ''}: "
            "these are not the weights of this model"
        )


def load_weights(
    module: nn.Module,
    stored: Mapping[str, Stored],
    dtype: torch.dtype,
    device: torch.device,
    *,
    fp32: Iterable[str] = (),
    strict: bool = True,
) -> None:
    """Give a module on the meta device its frozen weights, in `dtype` and on `device`.

    A weight whose name has a part that is in `fp32` is kept in fp32. Weights that are not
    among `stored` stay on the meta device, where that is not `strict`.

    Raises:
        UserError: a file can't be read.
    """
    names: dict[Stored, list[str]] = {}
    for name, each in stored.items():
        names.setdefault(each, []).append(name)
    parameters = dict(module.named_parameters(remove_duplicate=False))
    loaded: dict[str, Tensor] = {}
    kept = set(fp32)
    with Reader() as reader:
        for each in file_order(names):
            target = torch.float32 if kept.intersection(each.name.split(".")) else dtype
            kind = target if each.dtype.is_floating_point else each.dtype
            tensor = torch.empty(each.shape, dtype=kind, device=device)
            reader.fill(tensor, each)
            if names[each][0] in parameters:
                tensor = nn.Parameter(tensor, requires_grad=False)
            loaded |= dict.fromkeys(names[each], tensor)
    module.requires_grad_(False).load_state_dict(loaded, strict=strict, assign=True)


def _tensors(folder: Path) -> dict[str, Stored]:
    """The tensors of a part of a model, in whichever of its files each is."""
    for name in _NAMES:
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _indexed(index)
        if (folder / name).is_file():
            return stored_tensors(folder / name)
    raise UserError(f"{folder} has neither {' nor '.join(_NAMES)}: pickles are not loaded")


def _indexed(index: Path) -> dict[str, Stored]:
    try:
        placed: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
        files = sorted(set(placed.values()))
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise UserError(f"{index} names no files of weights: download it again") from None
    tensors: dict[str, Stored] = {}
    for name in files:
        if Path(name).name != name:
            raise UserError(f"{index} names {name}, which is no file beside it")
        tensors |= stored_tensors(index.parent / name)
    if missing := set(placed) - set(tensors):
        raise UserError(f"{index} names {_some(missing)}, which no file has: download it again")
    return tensors


def _some(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    ordered = sorted(names)
    shown, left = ordered[:_SHOWN], len(ordered) - _SHOWN
    return ", ".join(shown) + (f" and {left} more" if left > 0 else "")
