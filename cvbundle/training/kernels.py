"""Which kernels compute: those that give the same bits each time, or the fastest."""

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn import attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import deterministic

from cvbundle.training.job import Job

_HOPPER, _BLACKWELL = 9, 10
"""Major compute capabilities."""

_FLASH_PACKAGES = {"FA3": ("flash_attn_interface", _HOPPER), "FA4": ("flash_attn.cute", _BLACKWELL)}
"""Flash attention that torch can take from a package, and the devices that it is written for.

Source: torch/nn/attention/_fa3.py and _fa4.py, torch 2.13.
"""

_NAMES = {
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.EFFICIENT_ATTENTION: "memory efficient",
    SDPBackend.CUDNN_ATTENTION: "cudnn",
    SDPBackend.MATH: "math",
    SDPBackend.OVERRIDEABLE: "the device's own",
}


@contextmanager
def same_bits() -> Iterator[None]:
    """Only kernels whose result is the same each time; an operator that has none raises."""
    # Nothing reads memory before it is written, and filling it takes a kernel for every tensor.
    # A module that puts an object in its own place, for a setting that is a property.
    memory: Any = deterministic
    filled = memory.fill_uninitialized_memory
    memory.fill_uninitialized_memory = False
    try:
        with _settings(algorithms=True, search=False):
            yield
    finally:
        memory.fill_uninitialized_memory = filled


@contextmanager
def fastest(device: torch.device) -> Iterator[None]:
    """The fastest kernel of each operator, in whatever order it adds up."""
    with ExitStack() as stack:
        stack.enter_context(_settings(algorithms=False, search=True))
        if device.type == "cuda":
            stack.enter_context(_fastest_attention(device))
        yield


@contextmanager
def _settings(*, algorithms: bool, search: bool) -> Iterator[None]:
    """Whether algorithms are deterministic, and whether cuDNN tries which of its own is fastest."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(algorithms)
    torch.backends.cudnn.benchmark = search
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextmanager
def _fastest_attention(device: torch.device) -> Iterator[None]:
    """Attention in the order of its speed on a GPU.

    cuDNN's is ahead of FlashAttention-2 from Hopper on (FlashAttention-3, arXiv 2407.08608, figures
    5 and 6), and FlashAttention-3 and 4 where their packages are installed are ahead of it.
    """
    major, _ = torch.cuda.get_device_capability(device)
    order = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    installed = _installed_flash(major)
    position = 0 if major >= _HOPPER and installed is None else 1
    order.insert(position, SDPBackend.CUDNN_ATTENTION)
    if installed is not None:
        attention.activate_flash_attention_impl(installed)
    try:
        with sdpa_kernel(order, set_priority=True):
            yield
    finally:
        if installed is not None:
            attention.restore_flash_attention_impl()


def _installed_flash(major: int) -> str | None:
    """A newer flash attention for a device of this major capability."""
    # Not in every torch that can be installed.
    available: list[str] = getattr(attention, "list_flash_attention_impls", list)()
    for name, (package, capability) in _FLASH_PACKAGES.items():
        if name in available and major == capability and _is_installed(package):
            return name
    return None


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def attention_shape(job: Job) -> tuple[int, int, int, int]:
    """Batch, heads, tokens and width of a head, as attention sees a batch."""
    transformer, size = job.architecture.transformer, job.spec.data.resolution
    return (
        job.spec.training.batch_size,
        transformer.num_attention_heads,
        job.architecture.tokens(size.frames, size.height, size.width),
        transformer.attention_head_dim,
    )


def attention_backend(
    shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
) -> str:
    """The kernel that torch takes for attention in training, by name.

    Args:
        shape: see `attention_shape`.
        dtype: what query, key and value are in.
        device: where they are.
    """
    # One row of memory stands for all: the choice looks at sizes, type and device.
    row = torch.empty(shape[-1], dtype=dtype, device=device, requires_grad=True)
    states = row.expand(shape)
    name = _NAMES[SDPBackend(torch._fused_sdp_choice(states, states, states))]
    newer = getattr(attention, "current_flash_attention_impl", lambda: None)()
    return f"flash ({newer})" if name == "flash" and newer is not None else name
