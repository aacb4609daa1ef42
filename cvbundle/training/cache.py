"""Encodings by what they were made of: an entry's name is the digest of all that decides it.

Entries are shared by all bundles, written whole or not at all, and checked when they are read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from safetensors import SafetensorError, safe_open

from cvbundle.digest import canonical_json, sha256_bytes
from cvbundle.durable import write_bytes
from cvbundle.problems import UserError
from cvbundle.training.tensors import safetensors_bytes

_TENSOR = "encoding"


@frozen
class EncodingCache:
    """A folder of encodings."""

    folder: Path

    def path(self, key: str) -> Path:
        """Where an entry is or would be."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def has(self, key: str) -> bool:
        """Whether an entry is there in full; one that is cut off counts as missing."""
        path = self.path(key)
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > 1 << 20:
                    return False
                header = json.loads(file.read(length))
                end = header[_TENSOR]["data_offsets"][1]
                return bool(path.stat().st_size == 8 + length + end)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def write(self, key: str, encoding: torch.Tensor) -> None:
        """Put an entry in place."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensor = encoding.detach().contiguous().cpu()
        metadata = {"key": key, "sha256": _tensor_digest(tensor)}
        write_bytes(path, safetensors_bytes({_TENSOR: tensor}, metadata))

    def read(self, key: str) -> torch.Tensor:
        """An entry's tensor, on the CPU.

        Raises:
            UserError: its bytes are not what was written; the entry is removed.
        """
        path = self.path(key)
        try:
            with safe_open(path, framework="pt") as file:
                tensor: torch.Tensor = file.get_tensor(_TENSOR)
                metadata = file.metadata() or {}
        except FileNotFoundError:
            raise UserError(f"{path} is gone: run again to encode it anew") from None
        except SafetensorError:
            tensor, metadata = torch.empty(0), {}
        if metadata.get("key") != key or metadata.get("sha256") != _tensor_digest(tensor):
            path.unlink(missing_ok=True)
            raise UserError(f"{path} was damaged and is removed: run again to encode it anew")
        return tensor


def encoding_key(made_of: Mapping[str, Any]) -> str:
    """The name of an encoding: the digest of everything that decides its bytes."""
    return sha256_bytes(canonical_json(made_of))


def _tensor_digest(tensor: torch.Tensor) -> str:
    content = tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return sha256_bytes(f"{tensor.dtype} {list(tensor.shape)} ".encode() + content)
