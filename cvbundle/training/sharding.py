"""Weights, gradients and optimizer states shared out over the processes, by torch's FSDP2.

The stages of ZeRO (Rajbhandari et al., arXiv 1910.02054) are FSDP2's too: whether a block's weights
are let go between its forward and its backward tells stage 3 from stage 2. So every sharded
strategy is the same code, on GPUs and, for the tests, on a CPU.

What is saved is whole: a checkpoint says nothing of how many processes wrote it.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from cvbundle.spec.tables.strategies import StrategyKind

if TYPE_CHECKING:
    from cvbundle.training.models import CogVideoXTransformer3DModel


def shard(
    transformer: "CogVideoXTransformer3DModel",
    strategy: StrategyKind,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Leave this process its share of every weight; what it computes with is in `dtype`.

    A weight keeps its own type where it is held, and gradients are summed in fp32.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import (
        CPUOffloadPolicy,
        MixedPrecisionPolicy,
        OffloadPolicy,
        fully_shard,
    )

    # What the model returns is never worked on in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
    on_gpu = device.type != "cpu"
    offload = CPUOffloadPolicy(pin_memory=on_gpu) if strategy.offloads else OffloadPolicy()
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (distributed.get_world_size(),)),
        "reshard_after_forward": strategy.reshards,
        "offload_policy": offload,
        # Inputs as they are: the rotary embedding, which every block is given, stays in fp32.
        "mp_policy": MixedPrecisionPolicy(
            param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
        ),
    }
    for buffer in transformer.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.to(device, dtype)
    for block in transformer.transformer_blocks:
        fully_shard(block, **options)
    fully_shard(transformer, **options)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; every process has to ask for a shared one, in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Whole tensors on the CPU, for a process that keeps them; all processes have to ask.

    Those that are whole and on the CPU already are not copied.
    """
    kept = {}
    for name, tensor in tensors.items():
        all_of_it = whole(tensor.detach())
        if keep:
            kept[name] = all_of_it.cpu()
    return kept


def part(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor what this process holds, laid out as another one of its shape is."""
    if not isinstance(like, DTensor):
        return tensor
    result = like.detach().clone()
    rows = tensor.chunk(like.device_mesh.size())
    rank = like.device_mesh.get_local_rank()
    if rank < len(rows):
        held(result).copy_(rows[rank])
    return result


def held(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    if isinstance(tensor, DTensor):
        local: Tensor = tensor.detach().to_local()  # type: ignore[attr-defined]
        return local
    return tensor.detach()
