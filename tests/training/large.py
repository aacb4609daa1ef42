"""Transformers whose weights outweigh everything else, and what a process holds that loads one."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from attrs import asdict, evolve, frozen
from torch import Tensor

from cvbundle.spec.tables.models import MODELS
from cvbundle.training.models import CogVideoXTransformer3DModel
from cvbundle.training.pretrained import empty_model
from cvbundle.training.tensors import safetensors_pieces

_SHARD = 5 << 30
"""Bytes of a file at most, as on the hub."""
_BOUND = 0.05
"""Of a weight: what is computed with them stays finite in any type."""


@frozen
class _Drawn(Mapping[str, Tensor]):
    """Random tensors, each drawn when it is asked for."""

    shapes: Mapping[str, torch.Size]
    dtype: torch.dtype

    def __getitem__(self, name: str) -> Tensor:
        generator = torch.Generator().manual_seed(len(name))
        return torch.empty(self.shapes[name], dtype=self.dtype).uniform_(
            -_BOUND, _BOUND, generator=generator
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def write_large_transformer(
    folder: Path, dtype: torch.dtype, *, layers: int | None = None, heads: int | None = None
) -> int:
    """Write `transformer/` of a cogvideox-2b with random weights; its number of parameters.

    It is the real one's size where layers and heads of attention are not said; else its table of
    positions is that of a small sample.
    """
    found = MODELS.get("cogvideox-2b")
    assert found is not None
    transformer = found.architecture.transformer
    wanted = transformer
    if layers is not None and heads is not None:
        wanted = evolve(
            transformer,
            num_layers=layers,
            num_attention_heads=heads,
            sample_height=8,
            sample_width=12,
            sample_frames=9,
        )
    path = folder / "transformer"
    path.mkdir(parents=True)
    config = {"_class_name": "CogVideoXTransformer3DModel", **asdict(wanted)}
    (path / "config.json").write_text(json.dumps(config))
    empty = empty_model(CogVideoXTransformer3DModel, path)
    shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
    shards: list[dict[str, torch.Size]] = [{}]
    size = 0
    for name, shape in shapes.items():
        size += shape.numel() * dtype.itemsize
        if size > _SHARD:
            shards.append({})
            size = shape.numel() * dtype.itemsize
        shards[-1][name] = shape
    placed: dict[str, str] = {}
    for number, part in enumerate(shards, 1):
        name = f"diffusion_pytorch_model-{number:05d}-of-{len(shards):05d}.safetensors"
        placed |= dict.fromkeys(part, name)
        with (path / name).open("wb") as file:
            for piece in safetensors_pieces(_Drawn(part, dtype), {"format": "pt"}):
                file.write(piece)
    index = path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return sum(parameter.numel() for parameter in empty.parameters())


_LOAD = """
import sys
import torch
from pathlib import Path
from cvbundle.training.models import CogVideoXTransformer3DModel
from cvbundle.training import components

def resident(of):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(of))

folder, dtype, by = Path(sys.argv[1]), getattr(torch, sys.argv[2]), sys.argv[3]
torch.use_deterministic_algorithms(True)
before = resident("VmRSS:")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
if by == "us":
    model = components.load_transformer(folder, dtype, torch.device("cpu"))
else:
    model = CogVideoXTransformer3DModel.from_pretrained(folder / "transformer", torch_dtype=dtype)
print(resident("VmHWM:") - before)
"""
"""Prints the most bytes that a process held while it loaded, above what it held before."""


def peak_of_loading(folder: Path, dtype: torch.dtype, by: str = "us") -> int:
    """The most bytes that a process of its own holds for loading a transformer, files and all.

    `by` may be "diffusers" for what `from_pretrained` holds.
    """
    command = [sys.executable, "-c", _LOAD, str(folder), str(dtype).removeprefix("torch."), by]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def resident(of: str) -> int:
    """Bytes of this process, by their name in `/proc/self/status`: `VmRSS` now, `VmHWM` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{of}:"))
