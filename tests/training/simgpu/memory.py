"""What is alive on the simulated devices: storages, not tensors, since views share one."""

import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from attrs import define

from tests.training.simgpu.streams import TIMELINE, Accesses

DEVICES = 2
"""So that what is on the wrong one shows."""

CAPACITY = 1 << 40
"""Bytes that each says it has: far more than a test uses."""

OWNERS = {
    "T5EncoderModel": "text encoder",
    "AutoencoderKLCogVideoX": "VAE",
    "CogVideoXTransformer3DModel": "transformer",
}
"""Whose parameters and buffers a storage belongs to, by the class of the model."""

OTHER = "other"
"""Owner of what belongs to no model and no optimizer: activations, batches, tables."""


@define
class _Storage:
    device: int
    bytes: int
    accesses: Accesses


class Memory:
    """The storages of all devices."""

    def __init__(self) -> None:
        self._alive: dict[int, _Storage] = {}
        self._pinned: set[int] = set()
        self._things: weakref.WeakSet[torch.nn.Module | torch.optim.Optimizer] = weakref.WeakSet()
        self._lock = threading.RLock()
        self.allocated: Counter[int] = Counter()
        self.peak: Counter[int] = Counter()
        self.emptied = 0
        """Calls of `empty_cache`."""
        self.pinned_for: Counter[int] = Counter()
        """How often memory of the host was pinned by threads whose device was which."""

    def restart(self) -> None:
        """Peaks and calls are counted anew; what is alive stays."""
        self.peak = Counter(self.allocated)
        self.emptied = 0
        self.pinned_for.clear()

    def hold(self, held: torch.Tensor, device: int) -> None:
        """A tensor on a device has this memory."""
        storage = held.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()
        with self._lock:
            self._alive[key] = _Storage(device, size, Accesses(TIMELINE.current(device).number))
            self.allocated[device] += size
            self.peak[device] = max(self.peak[device], self.allocated[device])
        weakref.finalize(storage, self._freed, key).atexit = False

    def _freed(self, key: int) -> None:
        with self._lock:
            storage = self._alive.pop(key)
            self.allocated[storage.device] -= storage.bytes
        TIMELINE.freed(storage.accesses)

    def accesses(self, held: torch.Tensor) -> Accesses:
        """Who used the memory of a tensor last."""
        return self._alive[held.untyped_storage()._cdata].accesses

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note that a tensor of the host, just made, is in page-locked memory."""
        storage = tensor.untyped_storage()
        self.pinned_for[TIMELINE.device] += 1
        self._pinned.add(storage._cdata)
        weakref.finalize(storage, self._pinned.discard, storage._cdata).atexit = False
        return tensor

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor of the host is in page-locked memory."""
        return tensor.untyped_storage()._cdata in self._pinned

    def made(self, thing: torch.nn.Module | torch.optim.Optimizer) -> None:
        """A model or an optimizer begins its life; other modules own nothing."""
        if isinstance(thing, torch.optim.Optimizer) or type(thing).__name__ in OWNERS:
            self._things.add(thing)

    def _owners(self) -> Iterator[tuple[str, list[Any]]]:
        for thing in list(self._things):
            if isinstance(thing, torch.nn.Module):
                parameters = list(thing.parameters())
                yield OWNERS[type(thing).__name__], [*parameters, *thing.buffers()]
                yield "gradients", [p.grad for p in parameters if p.grad is not None]
            else:
                yield "optimizer", [v for state in thing.state.values() for v in state.values()]

    def by_owner(self, device: int = 0) -> dict[str, int]:
        """Bytes alive on a device by whom they belong to; owners of nothing are left out.

        Of all models and optimizers that were made since the device was installed, also those that
        only a forgotten frame or a cycle keeps alive: a GPU's memory is as full with them.
        """
        found: Counter[str] = Counter()
        left = {key: held.bytes for key, held in self._alive.items() if held.device == device}
        for owner, tensors in self._owners():
            for tensor in tensors:
                held = getattr(tensor, "held", None)
                if held is not None:
                    found[owner] += left.pop(held.untyped_storage()._cdata, 0)
        found[OTHER] = sum(left.values())
        return {owner: size for owner, size in found.items() if size}


MEMORY = Memory()
