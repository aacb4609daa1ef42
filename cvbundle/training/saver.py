"""Checkpoints that a thread writes while the next steps run.

What is on a device is copied to page-locked memory behind the step that made it, and hashed and
written from there: one copy of what is saved is held in host memory from the first checkpoint on.
What is in host memory already is not copied. It is written from where it is, and the optimizer's
next update waits for that.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import torch
from attrs import evolve
from torch import Tensor

from cvbundle.training import checkpoint
from cvbundle.training.checkpoint import State
from cvbundle.training.device import Event
from cvbundle.training.sharding import whole
from cvbundle.training.tensors import tensor_size, written_order

_SPARE = 0.1
"""The share of the free host memory that a copy must leave."""


class Saver:
    """Saves the states of a run, one after another; the caller goes on in between."""

    def __init__(
        self,
        folder: Path,
        optimizer: torch.optim.Optimizer,
        *,
        limit: int | None,
        writes: bool,
        shared: bool,
    ) -> None:
        """Save to `folder` and keep the newest `limit`, in the one process that `writes`.

        `shared` says that the processes have a part each of every state.
        """
        self._folder = folder
        self._limit = limit
        self._writes = writes
        self._shared = shared
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[object] | None = None
        self._in_place = False
        self._copies: dict[tuple[str, str], Tensor] = {}
        self._hook = optimizer.register_step_pre_hook(lambda *_: self.before_change())

    def save(self, state: State) -> None:
        """Begin to save a state, after the one before it; all processes that share it have to ask.

        Raises:
            OSError: the state before this one could not be written.
        """
        if not self._writes:
            if self._shared:
                checkpoint.lend(state)
            return
        try:
            self.wait()
        except OSError:
            # The others send their parts whatever happens here.
            if self._shared:
                checkpoint.lend(state)
            raise
        device = _device_of(state)
        if device is not None and self._has_room(state):
            self._begin(self._copied(state), _recorded(device))
        elif self._shared or device is not None:
            # It comes from other processes or a device while it is written.
            checkpoint.save(self._folder, state, limit=self._limit)
        else:
            self._begin(state, None)

    def before_change(self) -> None:
        """Wait until the tensors that were saved may be changed."""
        if self._in_place and self._writing is not None:
            wait([self._writing])

    @property
    def failed(self) -> bool:
        """Whether the last state could not be written; `wait` raises why."""
        writing = self._writing
        return writing is not None and writing.done() and writing.exception() is not None

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            OSError: the last state could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Wait, and save nothing more."""
        self._hook.remove()
        self._thread.shutdown()
        self._copies.clear()

    def _begin(self, state: State, arrived: Event | None) -> None:
        def write() -> None:
            if arrived is not None:
                arrived.synchronize()
            checkpoint.save(self._folder, state, limit=self._limit)

        self._in_place = arrived is None
        self._writing = self._thread.submit(write)

    def _has_room(self, state: State) -> bool:
        if self._copies:
            return True
        return bool(copied_bytes(state) < (1 - _SPARE) * psutil.virtual_memory().available)

    @torch.no_grad()
    def _copied(self, state: State) -> State:
        """The same state in page-locked memory, once the device has come to it."""
        copied: dict[str, dict[str, Tensor]] = {}
        tensors = _tensors(state)
        try:
            for file, name, tensor in tensors:
                all_of_it = whole(tensor.detach())
                copy = self._copies.get((file, name))
                if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                    self._copies[file, name] = copy
                copy.copy_(all_of_it, non_blocking=True)
                copied.setdefault(file, {})[name] = copy
        finally:
            # Other processes send their parts of all that is left.
            deque((whole(tensor.detach()) for _, _, tensor in tensors), maxlen=0)
        return _with_tensors(state, copied)


def copied_bytes(state: State) -> int:
    """Host memory that a copy of a state takes: torch rounds page-locked memory up.

    To a power of two for each tensor (ATen/core/CachingHostAllocator.h, `roundSize`).
    """
    sizes = (tensor_size(tensor) for _, _, tensor in _tensors(state))
    return sum(1 << (size - 1).bit_length() for size in sizes if size)


def _tensors(state: State) -> Iterator[tuple[str, str, Tensor]]:
    """A state's tensors by file and name, in the order in which `lend` sends them."""
    for file, tensors in checkpoint.tensor_files(state).items():
        for name in written_order(tensors):
            yield file, name, tensors[name]


def _with_tensors(state: State, copied: Mapping[str, Mapping[str, Tensor]]) -> State:
    files = list(checkpoint.tensor_files(state))
    weights, moments, *average = (copied.get(file, {}) for file in files)
    return evolve(state, weights=weights, moments=moments, average=average[0] if average else None)


def _device_of(state: State) -> torch.device | None:
    """The device that a state is on; None where all of it is in host memory."""
    devices = (tensor.device for _, _, tensor in _tensors(state))
    return next((device for device in devices if device.type != "cpu"), None)


def _recorded(device: torch.device) -> Event:
    """An event that comes when the device has done all that it was asked for until now."""
    event: Event = torch.get_device_module(device).Event()
    event.record(torch.get_device_module(device).current_stream(device))
    return event
