"""Encodings by what they were made of: an entry's name is the digest of all that decides it.

Entries are shared by all bundles, written whole or not at all, and checked when they are read.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import torch
from attrs import frozen

from cvbundle.files.digest import canonical_json, sha256_bytes
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError
from cvbundle.training.tensors import DTYPES, safetensors_bytes, tensor_bytes

_TENSOR = "encoding"
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""What reading a header that was made up raises; RecursionError is a RuntimeError."""


class DamagedEncoding(UserError):
    """An entry's bytes are not what was written; it is removed, with so many others."""

    def __init__(self, path: Path, others: int = 0) -> None:
        self.path = path
        more, them = (f", with {others} others", "them") if others else ("", "it")
        super().__init__(
            f"{path} was damaged and is removed{more}: run again to encode {them} anew"
        )


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
        except (OSError, *_MALFORMED):
            return False

    def write(self, key: str, encoding: torch.Tensor) -> None:
        """Put an entry in place."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensor = encoding.detach().contiguous().cpu()
        digest = _digest(tensor.dtype, tensor.shape, tensor_bytes(tensor))
        metadata = {"key": key, "sha256": digest}
        write_bytes(path, safetensors_bytes({_TENSOR: tensor}, metadata))

    def read(self, key: str) -> torch.Tensor:
        """An entry's tensor, on the CPU.

        Raises:
            UserError: it is gone.
            DamagedEncoding: its bytes are not what was written; the entry is removed.
        """
        path = self.path(key)
        try:
            content = bytearray(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path} is gone: run again to encode it anew") from None
        tensor = _parsed(content, key)
        if tensor is None:
            path.unlink(missing_ok=True)
            raise DamagedEncoding(path)
        return tensor

    def remove_if_damaged(self, key: str) -> bool:
        """Remove an entry whose bytes are not what was written; whether there was one."""
        path = self.path(key)
        try:
            content = bytearray(path.read_bytes())
        except OSError:
            return False
        if _parsed(content, key) is not None:
            return False
        path.unlink(missing_ok=True)
        return True


def encoding_key(made_of: Mapping[str, object]) -> str:
    """The name of an encoding: the digest of everything that decides its bytes."""
    return sha256_bytes(canonical_json(made_of))


def _parsed(content: bytearray, key: str) -> torch.Tensor | None:
    """The tensor of an entry's file, in the same memory; None if it isn't what was written.

    A step reads several entries, and this takes a third of the time of safetensors' `safe_open`.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata, (begin, end) = header["__metadata__"], header[_TENSOR]["data_offsets"]
        dtype, shape = DTYPES[header[_TENSOR]["dtype"]], header[_TENSOR]["shape"]
        data = memoryview(content)[8 + length :][begin:end]
        if (metadata["key"], metadata["sha256"]) != (key, _digest(dtype, shape, data)):
            return None
        return torch.frombuffer(data, dtype=dtype).view(shape)
    except _MALFORMED:
        return None


def _digest(dtype: torch.dtype, shape: Sequence[int], data: memoryview) -> str:
    digest = sha256(f"{dtype} {list(shape)} ".encode())
    digest.update(data)
    return digest.hexdigest()
