"""What a run measures: seconds of a step, and the device's memory in each phase."""

from statistics import median

import torch


class StepClock:
    """Seconds of a step, between two moments at which the device was waited for.

    Steps are queued ahead of the GPU, so the time of one is known only over several.
    """

    def __init__(self) -> None:
        self._seconds, self._steps = 0.0, 0
        self._samples: list[float] = []

    def add(self, seconds: float, *, waited: bool) -> None:
        """Add the seconds that a step took to queue; `waited`: all steps so far are done."""
        self._seconds += seconds
        self._steps += 1
        if waited:
            self._samples.append(self._seconds / self._steps)
            self._seconds, self._steps = 0.0, 0

    @property
    def median(self) -> float | None:
        """The median so far; without the first sample, which warms up, if there are others."""
        samples = self._samples[1:] or self._samples
        return round(median(samples), 6) if samples else None


class DeviceMemory:
    """The peak of torch's allocator on a device; a CPU has none."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        module = None if device.type == "cpu" else torch.get_device_module(device)
        self._module = module if hasattr(module, "max_memory_reserved") else None

    def begin(self) -> None:
        """Start a new peak."""
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
