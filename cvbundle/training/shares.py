"""The base model's weights where processes share them out: each reads its own rows, and no others.

A 5b in fp32 is 22.3 GB. Loaded whole by each of eight processes before they let go of the rest, it
is 178 GB of host memory.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from cvbundle.training.stored import Reader, Stored

_WRAPPED = "base_layer."
"""What peft puts into the name of a weight that it adds an adapter to."""


@contextmanager
def stand_ins(module: nn.Module) -> Iterator[None]:
    """While the block runs, weights on the meta device look as if they were on the CPU.

    peft draws an adapter on the CPU and takes it to the device of the weight that it is for, where
    a drawn number would be lost. All of a stand-in's elements are one.
    """
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for part, name, weight in _own_weights(module):
        if weight.is_meta:
            element = torch.zeros((), dtype=weight.dtype)
            stand_in = nn.Parameter(element.expand(weight.shape), weight.requires_grad)
            replaced[stand_in] = weight
            setattr(part, name, stand_in)
    yield
    for part, name, weight in _own_weights(module):
        if weight in replaced:
            setattr(part, name, replaced[weight].requires_grad_(weight.requires_grad))


def fill_shares(
    module: nn.Module, stored: Mapping[str, Stored], device: torch.device, *, pinned: bool
) -> None:
    """Read this process's rows of every weight of a sharded module that is on the meta device.

    Raises:
        UserError: a file can't be read.
    """
    with Reader() as reader:
        for prefix, part in module.named_modules():
            filled = {}
            for name, weight in part.named_parameters(recurse=False):
                if weight.is_meta:
                    whole_name = f"{prefix}.{name}".lstrip(".").replace(_WRAPPED, "")
                    filled[name] = _share(
                        weight.detach(), stored[whole_name], reader, device, pinned=pinned
                    )
            if filled:
                # FSDP2 takes over what is loaded, module by module: rows that it pads, since they
                # don't divide by the processes, it holds twice.
                part.load_state_dict(filled, strict=False, assign=True)


def _share(
    empty: DTensor, stored: Stored, reader: Reader, device: torch.device, *, pinned: bool
) -> DTensor:
    """This process's rows of a weight, in the type and layout of an empty one."""
    rows = torch.empty(empty.to_local().shape, dtype=empty.dtype, device=device, pin_memory=pinned)
    # As FSDP2 shares them out: the first processes have whole chunks.
    chunk = -(-empty.shape[0] // empty.device_mesh.size())
    first = min(chunk * empty.device_mesh.get_local_rank(), empty.shape[0])
    reader.fill(rows, stored, row=first)
    return DTensor.from_local(
        rows,
        empty.device_mesh,
        empty.placements,
        run_check=False,
        shape=empty.shape,
        stride=empty.stride(),
    )


def _own_weights(module: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Every weight with the module that has it and its name there."""
    return [
        (part, name, weight)
        for part in module.modules()
        for name, weight in part.named_parameters(recurse=False)
    ]
