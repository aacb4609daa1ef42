"""The result of a run, as diffusers loads it, with a model card that says where it comes from."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor

from cvbundle.bundle.layout import ADAPTER_WEIGHTS, README, RUN_ADAPTER, RUN_TRANSFORMER
from cvbundle.files.digest import sha256_file
from cvbundle.files.durable import new_folder, remove_tree
from cvbundle.problems import UserError
from cvbundle.training import components
from cvbundle.training.job import Job
from cvbundle.training.tensors import safetensors_bytes
from cvbundle.training.weights import ADAPTER_NAME

if TYPE_CHECKING:
    from cvbundle.training.models import CogVideoXTransformer3DModel

_PREFIX = "transformer"


def export_adapter(
    run: Path, transformer: "CogVideoXTransformer3DModel", trained: Mapping[str, Tensor], card: str
) -> Path:
    """Write the adapter so that `load_lora_weights` needs no further argument; its folder.

    Rank, alpha and targets are in the file's metadata, without which diffusers takes alpha = rank
    (diffusers 0.42.1, loaders/lora_base.py, `LORA_ADAPTER_METADATA_KEY`).
    """
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(
        transformer, state_dict=dict(trained), adapter_name=ADAPTER_NAME
    )
    config = transformer.peft_config[ADAPTER_NAME].to_dict()
    described = {f"{_PREFIX}.{key}": _plain(value) for key, value in config.items()}
    metadata = {
        "format": "pt",
        LORA_ADAPTER_METADATA_KEY: json.dumps(described, indent=2, sort_keys=True),
    }
    tensors: dict[str, Tensor] = {f"{_PREFIX}.{name}": weights[name] for name in weights}

    def write(folder: Path) -> None:
        content = safetensors_bytes(tensors, metadata)
        (folder / ADAPTER_WEIGHTS).write_bytes(content)

    return _put(run / RUN_ADAPTER, write, card)


def export_transformer(job: Job, trained: Mapping[str, Tensor], card: str) -> Path:
    """Write all weights as a diffusers `transformer/` folder, in the dtype of the base model."""
    dtype = components.DTYPES[job.spec.training.mixed_precision]

    def write(folder: Path) -> None:
        # A copy of the base model, whose buffers are not trained.
        transformer = components.load_transformer(job.model_folder, dtype, torch.device("cpu"))
        with torch.no_grad():
            for name, parameter in transformer.named_parameters():
                parameter.copy_(trained[name])
        try:
            transformer.save_pretrained(folder, safe_serialization=True)
        except SafetensorError as error:
            # How the library says that the disk is full, among other things.
            hint = "run it again to continue"
            raise UserError(f"{folder} can't be written ({error}): {hint}") from None

    return _put(job.run / RUN_TRANSFORMER, write, card)


def result_digests(folder: Path, run: Path) -> dict[str, str]:
    """The sha256 of each file of a result, by its path in the run."""
    return {
        path.relative_to(run).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != README
    }


def _put(final: Path, write: Callable[[Path], None], card: str) -> Path:
    remove_tree(final)
    with new_folder(final) as folder:
        write(folder)
        (folder / README).write_text(card, "utf-8")
    return final


def _plain(value: object) -> object:
    """A value of peft's config as JSON can hold it, always in the same order."""
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
