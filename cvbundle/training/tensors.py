"""safetensors files whose bytes are decided by their content."""

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

_LENGTH = 8
"""Bytes that say how long the header is; the header is padded to a multiple of as many."""


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file.

    The library writes metadata in the random order of a hash map (safetensors 0.8.0, executed), so
    the header is written again, sorted.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(stored, dict(metadata))
    length = int.from_bytes(content[:_LENGTH], "little")
    header = json.loads(content[_LENGTH : _LENGTH + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return len(text).to_bytes(_LENGTH, "little") + text + content[_LENGTH + length :]
