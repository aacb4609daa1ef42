"""A GPU that is none: a device of type `simgpu`, in Python, whose tensors are CPU tensors inside.

For a machine without a GPU, so that it sees what only a GPU would show:

- a tensor that was left on the host raises at the first operator that gets it beside one of the
  device, with CUDA's words and CUDA's exceptions (a number of the host, the host's indices);
- there are two, `simgpu:0` and `simgpu:1`, so the wrong one shows as well; `set_device` refuses a
  device without an index, and each thread begins on the first;
- `simgpu.TRAFFIC.copies` are all copies with their size, `non_blocking`, and whether the host's
  memory was pinned; `simgpu.TRAFFIC.syncs` is each time that the host waits for the device, with
  the line;
- `simgpu.MEMORY.by_owner(0)` is what is alive on a device: text encoder, VAE, transformer,
  gradients, optimizer, other, in bytes; `.allocated[0]` and `.peak[0]` are the sums;
- a kernel on a side stream whose results another stream uses without a wait raises `MissingWait`,
  as does memory that is freed, or written over, too early; and a `non_blocking` copy to pinned
  memory is all NaN until somebody waits for it (an event, a stream or the device); pinned memory
  that is written to while a copy from it is under way raises at the next wait;
- random numbers are the device's own, and the host's generators are refused;
- operators of which CUDA has no deterministic version are refused where such are asked for.

In a test, take the fixture `simgpu`, or the block:

    with simgpu.installed():
        gpu = torch.get_device_module("simgpu")    # set_device, Stream, Event, synchronize, ...
        weights = torch.ones(3, device="simgpu:0")
        side = gpu.Stream("simgpu:0")
        with gpu.stream(side):
            doubled = weights * 2                   # raises MissingWait: weights may not be there
        side.wait_stream(gpu.current_stream())      # this, before the block, is what was missing

`train_on_simgpu` trains a bundle in the test's own process, as `train_here` does on the CPU.

What it isn't: fast, a clock, or a measure of memory to the byte (autocast keeps no copies of
weights here, and an operator's own temporaries are the host's). Backward runs on the default
stream, and on the first device alone: torch's engine has one queue for a device from Python.
DDP's reducer and gloo take such tensors, but not with `find_unused_parameters`, which the trainer
sets: for it the reducer asks C++ for pinned memory (test_ddp_on_simgpu).

Built on torch.utils.backend_registration, with which torch 2.13 takes a device from Python.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd import graph
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.training.simgpu import kernels
from tests.training.simgpu.memory import MEMORY
from tests.training.simgpu.module import MODULE
from tests.training.simgpu.streams import TIMELINE, MissingWait
from tests.training.simgpu.tensor import GENERATORS, NAME, REFUSED, DeviceTensor
from tests.training.simgpu.traffic import TRAFFIC, Copy, Sync

__all__ = [
    "MEMORY",
    "NAME",
    "TRAFFIC",
    "Copy",
    "DeviceTensor",
    "MissingWait",
    "Sync",
    "installed",
]


def _register() -> None:
    """Tell torch of the device; once in a process, which can't take it back.

    Before anything is computed: torch's engine makes its queues at the first backward, one for each
    device that there is then (torch/csrc/autograd/engine.cpp, `start_device_threads`).

    Where it isn't installed, torch has to say that there is no accelerator: a group of processes
    chooses how to talk by that, when nobody chooses for it.
    """
    _setup_privateuseone_for_python_backend(NAME, MODULE)
    kernels.register()
    found, found_or_none = torch._C._get_accelerator, torch._C._accelerator_getAccelerator

    def accelerator(check: bool = False) -> torch.device:
        return found(check) if MODULE.installed else torch.device("cpu")

    def accelerator_or_none() -> Any:
        return found_or_none() if MODULE.installed else None

    torch._C._get_accelerator = accelerator
    torch._C._accelerator_getAccelerator = accelerator_or_none


@contextmanager
def installed() -> Iterator[None]:
    """The device is there while the block runs; it begins with nothing counted."""
    # What a cycle of another test still holds.
    gc.collect()
    for record in (MEMORY, TRAFFIC, TIMELINE):
        record.restart()
    GENERATORS.clear()
    REFUSED.clear()
    with ExitStack() as patches:
        for target, name, replacement in (*_pinning(), *_owners(), _backward()):
            patches.enter_context(patch.object(target, name, replacement))
        # `module.to` can't put a device's tensor into a host's parameter otherwise.
        swapped = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        MODULE.installed = True
        try:
            yield
        finally:
            MODULE.installed = False
            torch.__future__.set_swap_module_params_on_conversion(swapped)


def _pinning() -> Iterator[tuple[Any, str, Any]]:
    """What makes page-locked memory, for which torch asks C++ that this device doesn't have."""

    def pin_memory(tensor: Tensor, device: object = None) -> Tensor:
        if tensor.device.type != "cpu":
            raise RuntimeError(f"cannot pin '{tensor.type()}' only dense CPU tensors can be pinned")
        return tensor if MEMORY.is_pinned(tensor) else MEMORY.pin(tensor.detach().clone())

    def is_pinned(tensor: Tensor, device: object = None) -> bool:
        return tensor.device.type == "cpu" and MEMORY.is_pinned(tensor)

    yield Tensor, "pin_memory", pin_memory
    yield Tensor, "is_pinned", is_pinned
    for name in ("empty", "empty_like", "empty_strided", "zeros", "zeros_like"):
        yield torch, name, _taking_pins(getattr(torch, name))


def _owners() -> Iterator[tuple[Any, str, Any]]:
    """What tells whose memory it is."""
    for kind in (nn.Module, torch.optim.Optimizer):
        yield kind, "__init__", _noting(kind.__init__)


def _noting(begin: Callable[..., None]) -> Callable[..., None]:
    def noted(thing: Any, *args: Any, **options: Any) -> None:
        MEMORY.made(thing)
        begin(thing, *args, **options)

    return noted


def _backward() -> tuple[Any, str, Any]:
    """A backward that raises what was refused in it, once it is through.

    Not where it was refused: its threads guard their stream by asking Python for the type of the
    device, and torch 2.13 terminates when it asks while an exception is on its way.
    """
    run = graph._engine_run_backward

    def refusing(*args: Any, **options: Any) -> Any:
        result = run(*args, **options)
        if REFUSED:
            raise REFUSED.pop(0)
        return result

    return torch.autograd, "_engine_run_backward", refusing


def _taking_pins(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(*args: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        tensor = function(*args, **options)
        if pin_memory and tensor.device.type != "cpu":
            raise RuntimeError("Only dense CPU tensors can be pinned")
        return MEMORY.pin(tensor) if pin_memory else tensor

    return made


_register()
