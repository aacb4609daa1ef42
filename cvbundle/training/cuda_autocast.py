"""CUDA's autocast, on tensors of the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_IN_FP32 = ("layer_norm", "group_norm")
"""Operators that CUDA's autocast runs in fp32 and the CPU's does not, of those that a CogVideoX
uses (pytorch aten/src/ATen/autocast_mode.h, `AT_FORALL_FP32`)."""


@contextmanager
def cuda_autocast() -> Iterator[None]:
    """The CPU's autocast treats operators as CUDA's does."""
    with torch.library._scoped_library("aten", "IMPL") as library:
        for name in _IN_FP32:
            library.impl(name, _in_fp32(getattr(torch.ops.aten, name).default), "AutocastCPU")
        yield


def _in_fp32(operator: Any) -> Any:
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            return operator(*map(_widened, args), **{k: _widened(v) for k, v in kwargs.items()})

    return kernel


def _widened(value: Any) -> Any:
    is_number = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(torch.float32) if is_number else value
