"""safetensors files whose bytes are decided by their content, written a tensor at a time.

The library writes metadata in the random order of a hash map (safetensors 0.8.0, executed), and
needs all tensors in memory at once, twice. The format is the library's own, and it reads them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from cvbundle.training.sharding import whole

LENGTH = 8
"""Bytes that say how long the header is; the header is padded to a multiple of as many."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types of tensors as safetensors names them."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def safetensors_pieces(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """A safetensors file, piece by piece: its header, then a tensor each.

    Tensors that are shared out over processes are brought together one by one, so all of these
    have to ask for every piece.
    """
    yield _header(tensors, metadata)
    for name in written_order(tensors):
        yield tensor_bytes(whole(tensors[name].detach()))


def safetensors_size(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """How many bytes those pieces are together, without a look at the tensors' elements."""
    return len(_header(tensors, metadata)) + sum(map(tensor_size, tensors.values()))


def tensor_size(tensor: Tensor) -> int:
    """Bytes of a tensor's elements; of all processes together where it is shared out."""
    return tensor.numel() * tensor.element_size()


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in written_order(tensors):
        tensor = tensors[name]
        begin, end = end, end + tensor_size(tensor)
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH)
    return len(text).to_bytes(LENGTH, "little") + text


def written_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """As the library orders them: every tensor begins at a multiple of its type's size."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file that is small enough to be held in memory."""
    return b"".join(safetensors_pieces(tensors, metadata))


def tensor_bytes(tensor: Tensor) -> memoryview:
    """A tensor's elements in order; without a copy where it is on the CPU and has no gaps."""
    flat = tensor.cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data.cast("B")


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a safetensors file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        file: Any = safe_open(path, framework="pt")
        self._file = file
        self._names: tuple[str, ...] = tuple(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
