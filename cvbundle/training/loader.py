"""The batches of a process, in order, made ahead of the steps.

By threads, not by processes as torch's DataLoader does it: a sample is a few files to read and
some large draws, which all leave Python's lock alone. So nothing is forked beside a CUDA context,
nothing goes through shared memory (which containers keep small), and no batch is sent.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import torch

from cvbundle.problems import UserError
from cvbundle.training.ahead import made_ahead
from cvbundle.training.samples import Batch, SampleSource

_AHEAD = 2
"""Batches that each worker is ahead."""


def batch_numbers(
    *, first_step: int, last_step: int, global_batch: int, batch: int, rank: int, world_size: int
) -> Iterator[range]:
    """The sample numbers of a process's batches, from `first_step` (counted from 0) to the end.

    A step's global batch is the next `global_batch` samples of the run, whatever the number of
    processes: they take its batches in turn.
    """
    for step in range(first_step, last_step):
        start = step * global_batch
        for turn in range(start + rank * batch, start + global_batch, world_size * batch):
            yield range(turn, turn + batch)


def batches(
    source: SampleSource, numbers: Iterator[range], device: torch.device
) -> Generator[Batch]:
    """Batches on the CPU, in order, made ahead by the spec's workers for the device.

    Raises:
        UserError: a sample can't be read, or a worker can't use the device.
    """
    data = source.spec.data
    pinned = data.pin_memory and device.type != "cpu"

    def batch(samples: range) -> Batch:
        made = source.batch(samples, pinned=pinned)
        return made.pin_memory() if pinned else made

    if data.num_workers == 0:
        yield from map(batch, numbers)
        return
    made = made_ahead(
        numbers,
        batch,
        threads=data.num_workers,
        ahead=_AHEAD * data.num_workers,
        prepare=_worker(device),
    )
    with closing(made):
        for _, ready in made:
            yield ready


def _worker(device: torch.device) -> Callable[[], None]:
    """What a thread does first: it takes one core, and pins for the trainer's own device."""

    def prepare() -> None:
        torch.set_num_threads(1)
        if device.type != "cpu":
            try:
                torch.get_device_module(device).set_device(device)
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"a thread that prepares batches can't use {device} ({reason}): "
                    "set data.num_workers to 0, or see what else uses the device"
                ) from None

    return prepare
