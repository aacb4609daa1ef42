"""What CUDA refuses: tensors of two devices in one operator, and a generator of another device."""

from collections.abc import Sequence
from typing import Any

import torch

aten = torch.ops.aten

COPIES = {aten.copy_.default, aten._to_copy.default, aten._copy_from.default}
"""The operators that are there to bring a tensor from one device to another."""

INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._unsafe_index.Tensor,
    aten._unsafe_index_put.default,
    aten._index_put_impl_.default,
}
"""Operators that bring indices from the host by themselves (TensorAdvancedIndexingUtils.h)."""

SCALARS = {
    "fill_",
    "masked_fill",
    "masked_fill_",
    "index_put",
    "index_put_",
    "index_fill",
    "index_fill_",
    "_foreach_mul",
    "_foreach_mul_",
    "_foreach_div",
    "_foreach_div_",
    "_foreach_add",
    "_foreach_add_",
}
"""Beside the pointwise ones, operators that take a number of the host (a tensor of no dimension)
for each element."""

WAITING = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
"""Operators whose result, or its size, the host has to know."""

NOT_DETERMINISTIC = {
    "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward",
    "_ctc_loss_backward",
    "adaptive_max_pool2d_backward",
    "avg_pool3d_backward",
    "bincount",
    "embedding_bag",
    "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "max_pool3d_with_indices_backward",
    "max_unpool2d",
    "max_unpool3d",
    "median",
    "nll_loss2d_forward",
    "put_",
    "reflection_pad1d_backward",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "replication_pad1d_backward",
    "replication_pad2d_backward",
    "replication_pad3d_backward",
    "upsample_bicubic2d_backward",
    "upsample_linear1d_backward",
    "upsample_trilinear3d_backward",
}
"""Operators of which CUDA has only a version that `use_deterministic_algorithms` refuses."""


def check_devices(func: Any, args: Sequence[Any], device: torch.device) -> None:
    """Refuse what `device`, on which the first tensor of `args` is, can't compute with.

    Raises:
        RuntimeError: as CUDA words it.
    """
    for position, argument in enumerate(args):
        inside = argument if isinstance(argument, list | tuple) else (argument,)
        for tensor in inside:
            if isinstance(tensor, torch.Generator) and tensor.device.type != device.type:
                raise RuntimeError(
                    f"Expected a '{device.type}' device type for generator "
                    f"but found '{tensor.device.type}'"
                )
            if not isinstance(tensor, torch.Tensor) or tensor.device == device:
                continue
            if tensor.device.type == "cpu" and _host_is_taken(func, position, argument, tensor):
                continue
            if func in INDEXED and position < 2:
                raise RuntimeError(
                    "indices should be either on cpu or on the same device as the indexed tensor "
                    f"({args[0].device})"
                )
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{device} and {tensor.device}! (in {func})"
            )


def _host_is_taken(func: Any, position: int, argument: Any, tensor: torch.Tensor) -> bool:
    if func in INDEXED and position == 1:
        return True
    if tensor.dim() or isinstance(argument, list | tuple):
        return False
    if position == 0 and func._schema.arguments[0].alias_info is not None:
        # The result would be on the host.
        return False
    return torch.Tag.pointwise in func.tags or func.overloadpacket.__name__ in SCALARS


def check_deterministic(func: Any) -> None:
    """Refuse an operator that CUDA has no deterministic version of.

    Raises:
        RuntimeError: as CUDA words it.
    """
    name = func.overloadpacket.__name__
    if name in NOT_DETERMINISTIC and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(
            f"{name} does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'."
        )


def waits(func: Any, args: Sequence[Any]) -> bool:
    """Whether the host has to wait for the operator (torch.cuda.set_sync_debug_mode)."""
    if func in INDEXED:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return func.overloadpacket.__name__ in WAITING
