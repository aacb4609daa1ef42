"""The batch of a step on the device, with the latents of its images; the next one meanwhile.

While a device computes a step, the next batch is copied to it and its images go through the VAE, on
a stream of their own. On a CPU there is nothing to do meanwhile, and nothing is done ahead.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from cvbundle.problems import UserError
from cvbundle.training.samples import Batch


@frozen
class Ready:
    """A batch on the device."""

    batch: Batch
    image: Tensor | None
    """The conditioning image's latents in place, [B, F, C, H, W]; None without."""


class Upcoming:
    """The batches of this process, in order, one of which may be on its way to the device."""

    def __init__(
        self,
        batches: Iterator[Batch],
        device: torch.device,
        image: Callable[[Batch], Tensor | None],
    ) -> None:
        self._batches = batches
        self._device = device
        self._image = image
        self._begun: tuple[Ready, Any] | UserError | None = None
        self._stream: Any = None
        if device.type != "cpu":
            module = torch.get_device_module(device)
            self._stream = module.Stream(device)
            # What the images go through was put on the device by the main stream.
            self._stream.wait_stream(module.current_stream(device))

    def take(self) -> Ready:
        """The next batch, for kernels of the current stream.

        Raises:
            UserError: a sample can't be read.
            StopIteration: there are no more.
        """
        begun, self._begun = self._begun, None
        if isinstance(begun, UserError):
            raise begun
        if begun is None:
            return self._ready(next(self._batches))
        ready, done = begun
        current = torch.get_device_module(self._device).current_stream(self._device)
        current.wait_event(done)
        image = () if ready.image is None else (ready.image,)
        for tensor in (*ready.batch.tensors, *image):
            # Made on the other stream, whose allocations would else reuse the memory.
            tensor.record_stream(current)
        return ready

    def begin(self) -> None:
        """Begin with the batch after the one that was taken; its kernels are launched already."""
        if self._stream is None:
            return
        try:
            batch = next(self._batches, None)
        except UserError as error:
            # Its turn has not come.
            self._begun = error
            return
        if batch is not None:
            with torch.get_device_module(self._device).stream(self._stream):
                self._begun = self._ready(batch), self._stream.record_event()

    def close(self) -> None:
        """Let the current stream wait for what was begun: others may free what it works with."""
        self._begun = None
        if self._stream is not None:
            current = torch.get_device_module(self._device).current_stream(self._device)
            current.wait_stream(self._stream)

    def _ready(self, batch: Batch) -> Ready:
        moved = batch.to(self._device)
        return Ready(moved, self._image(moved))
