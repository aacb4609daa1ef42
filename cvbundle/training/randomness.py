"""Randomness without history: every draw is a function of the seed and what it is for.

Nothing here remembers what was drawn before, so workers, processes and restarts can't change a
draw. Philox is counter-based (Salmon et al., SC'11): the key is the seed and the purpose, the
counter the number of the sample, so no two streams overlap.
"""

import threading
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What a stream of random numbers is for; a number must never change its meaning."""

    ORDER = 1
    NOISE = 2
    TIMESTEP = 3
    POSTERIOR = 4
    CAPTION_DROPOUT = 5
    IMAGE_DROPOUT = 6
    IMAGE_NOISE_LEVEL = 7
    IMAGE_NOISE = 8
    WEIGHTS = 9
    MODULE_DROPOUT = 10
    VALIDATION = 11
    IMAGE_POSTERIOR = 12
    EVALUATION = 13


class _Thread(threading.local):
    """A generator for each thread: making one asks the system for entropy that nobody uses."""

    def __init__(self) -> None:
        self.bits = np.random.Philox(key=0)
        self.generator = np.random.Generator(self.bits)
        self.state = self.bits.state


_thread = _Thread()


def stream(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """The random numbers of one purpose for one number (of a sample, an epoch, a step).

    They are there until the next stream is asked for in the same thread.
    """
    state: Any = _thread.state
    key, counter = state["state"]["key"], state["state"]["counter"]
    key[0], key[1], counter[3] = seed, purpose, number
    _thread.bits.state = state
    return _thread.generator


def normal(seed: int, purpose: Purpose, number: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers, fp32."""
    drawn = np.empty(shape, np.float32)
    fill_normal(drawn, seed, purpose, number)
    return drawn


def fill_normal(memory: NDArray[np.float32], seed: int, purpose: Purpose, number: int) -> None:
    """Standard normal numbers into memory without gaps."""
    stream(seed, purpose, number).standard_normal(dtype=np.float32, out=memory)


def torch_seed(seed: int, purpose: Purpose, number: int) -> int:
    """A seed for torch's own generator, where a module draws for itself (dropout, init)."""
    return int(stream(seed, purpose, number).integers(0, 2**63 - 1))


def epoch_order(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the samples."""
    return stream(seed, Purpose.ORDER, epoch).permutation(size)


class SampleOrder:
    """Which row of the dataset the n-th sample of a run is, for n without end.

    Epochs follow one another without a gap: a batch may hold the end of one and the beginning of
    the next, and no sample is ever left out.
    """

    def __init__(self, seed: int, size: int) -> None:
        self._seed = seed
        self._size = size
        self._held: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def row(self, number: int) -> int:
        """The row of the sample with this number, both counted from 0."""
        epoch, position = divmod(number, self._size)
        # Taken and put back whole: threads may be in two epochs at once.
        held = self._held
        if held[0] != epoch:
            held = self._held = (epoch, epoch_order(self._seed, epoch, self._size))
        return int(held[1][position])
