"""What a run measures of itself: seconds of a step, and its device's memory in each phase."""

from statistics import median

import torch


class StepClock:
    """Seconds of a step, between two moments at which the device was waited for.

    Steps are handed to a GPU ahead of it: how long one of them took is known only over several.
    """

    def __init__(self) -> None:
        self._seconds, self._steps = 0.0, 0
        self._samples: list[float] = []

    def add(self, seconds: float, *, waited: bool) -> None:
        """A step took so long to be handed over; `waited`: and all before it are done."""
        self._seconds += seconds
        self._steps += 1
        if waited:
            self._samples.append(self._seconds / self._steps)
            self._seconds, self._steps = 0.0, 0

    @property
    def median(self) -> float | None:
        """Of what is known; without the first, which warms up, where there are others."""
        samples = self._samples[1:] or self._samples
        return round(median(samples), 6) if samples else None


class DeviceMemory:
    """The most that torch's allocator held on a device; nothing is known of a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        module = None if device.type == "cpu" else torch.get_device_module(device)
        self._module = module if hasattr(module, "max_memory_reserved") else None

    def begin(self) -> None:
        """Start to look for the most."""
        if self._module is not None:
            self._module.reset_peak_memory_stats(self._device)

    def peak(self) -> dict[str, int]:
        """Bytes of tensors and of what is reserved for them, at most; empty where unknown."""
        if self._module is None:
            return {}
        return {
            "allocated": self._module.max_memory_allocated(self._device),
            "reserved": self._module.max_memory_reserved(self._device),
        }
