"""`torch.simgpu`: what the trainer and its libraries ask `torch.cuda` for, by the same names."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from attrs import frozen

from tests.training.simgpu.memory import CAPACITY, DEVICES, MEMORY
from tests.training.simgpu.streams import TIMELINE, on_stream, told_index
from tests.training.simgpu.streams import Event as _Event
from tests.training.simgpu.streams import Stream as _Stream
from tests.training.simgpu.tensor import GENERATORS, NAME

Device = torch.device | str | int | None


@frozen
class _Properties:
    name: str
    total_memory: int
    multi_processor_count: int = 1
    major: int = 1
    minor: int = 0


class Module:
    """The functions of `torch.cuda`, as far as there is something to do."""

    Stream = _Stream
    Event = _Event

    def __init__(self) -> None:
        self.installed = False

    def is_available(self) -> bool:
        """Whether a test has it."""
        return self.installed

    def is_initialized(self) -> bool:
        """Nothing has to be initialised."""
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        """Two."""
        return DEVICES

    def current_device(self) -> int:
        """Of this thread."""
        return TIMELINE.device

    def set_device(self, device: Device) -> None:
        """Choose this thread's device.

        Raises:
            ValueError: it has no index, as torch.cuda says it.
        """
        TIMELINE.device = _index(device, optional=False)

    @contextmanager
    def device(self, device: Device) -> Iterator[None]:
        """This thread's device, while the block runs."""
        before = TIMELINE.device
        TIMELINE.device = _index(device)
        try:
            yield
        finally:
            TIMELINE.device = before

    def get_device_name(self, device: Device = None) -> str:
        """A name that no GPU has."""
        return f"Simulated GPU {_index(device)}"

    def get_device_properties(self, device: Device = None) -> _Properties:
        """Name and size."""
        return _Properties(self.get_device_name(device), CAPACITY)

    def get_device_capability(self, device: Device = None) -> tuple[int, int]:
        """Of no architecture that a library has special code for."""
        return (1, 0)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """The types of autocast."""
        return [torch.bfloat16, torch.float16]

    def is_bf16_supported(self, including_emulation: bool = True) -> bool:
        """Yes."""
        return True

    def current_stream(self, device: Device = None) -> _Stream:
        """Of this thread."""
        return TIMELINE.current(_index(device))

    def default_stream(self, device: Device = None) -> _Stream:
        """Where kernels go unless another stream is chosen."""
        return TIMELINE.default(_index(device))

    def stream(self, stream: _Stream | None) -> Any:
        """This thread's kernels go there, while the block runs."""
        return on_stream(stream)

    def set_stream(self, stream: _Stream) -> None:
        """This thread's kernels go there."""
        TIMELINE.set_current(stream)

    def synchronize(self, device: Device = None) -> None:
        """The host waits for all streams of a device."""
        TIMELINE.synchronize(_index(device))

    def empty_cache(self) -> None:
        """Nothing is cached; that it was asked for is counted."""
        MEMORY.emptied += 1

    def memory_allocated(self, device: Device = None) -> int:
        """Bytes alive."""
        return MEMORY.allocated[_index(device)]

    def max_memory_allocated(self, device: Device = None) -> int:
        """The most that were alive at once."""
        return MEMORY.peak[_index(device)]

    def memory_reserved(self, device: Device = None) -> int:
        """Bytes alive: nothing is cached."""
        return self.memory_allocated(device)

    def max_memory_reserved(self, device: Device = None) -> int:
        """The same for the peak."""
        return self.max_memory_allocated(device)

    def reset_peak_memory_stats(self, device: Device = None) -> None:
        """The peak is what is alive now."""
        index = _index(device)
        MEMORY.peak[index] = MEMORY.allocated[index]

    def mem_get_info(self, device: Device = None) -> tuple[int, int]:
        """Bytes free, and in all."""
        return CAPACITY - self.memory_allocated(device), CAPACITY

    def manual_seed(self, seed: int) -> None:
        """Seed the current device."""
        GENERATORS[TIMELINE.device] = torch.Generator().manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed all devices."""
        for index in range(DEVICES):
            GENERATORS[index] = torch.Generator().manual_seed(seed)

    def get_rng_state(self, device: Device = NAME) -> torch.Tensor:
        """The state of a device's generator, on the host."""
        return GENERATORS.setdefault(_index(device), torch.Generator()).get_state()

    def set_rng_state(self, state: torch.Tensor, device: Device = NAME) -> None:
        """Put a state back."""
        GENERATORS.setdefault(_index(device), torch.Generator()).set_state(state)


def _index(device: Device, *, optional: bool = True) -> int:
    told = device if isinstance(device, int) else told_index(device)
    if told is None and not optional:
        raise ValueError(
            f"Expected a torch.device with a specified index or an integer, but got:{device}"
        )
    return TIMELINE.device if told is None else told


MODULE = Module()
