"""The processes of a run: which of them this one is, and what they do together."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from attrs import frozen
from torch import Tensor, distributed

from cvbundle.problems import UserError
from cvbundle.training.exchange import host

T = TypeVar("T")


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""


class FailedAlone(UserError):
    """A failure that the other processes can't learn of from this one, which has to report it."""


Failure = Stopped | UserError | OSError


@frozen(kw_only=True)
class Processes:
    """The processes of a run, as one of them sees them.

    Every method that asks the others waits until all of them have called it. They are asked between
    the hosts, by gloo: between devices the answer would wait for the step that they compute.
    """

    rank: int
    count: int
    """On all machines."""
    local_rank: int
    """Among those on this machine."""
    machines: int
    device: torch.device
    """Where this process computes."""
    control: distributed.ProcessGroup | None
    """The group in which they ask each other; None for a process that is alone."""

    @classmethod
    def alone(cls, device: torch.device) -> "Processes":
        """A process that has no others."""
        return cls(rank=0, count=1, local_rank=0, machines=1, device=device, control=None)

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def leads_machine(self) -> bool:
        """Whether this is the first process on its machine."""
        return self.local_rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every n-th item, for this process of n."""
        return items[self.rank :: self.count]

    def share_on_machine(self, items: Sequence[T]) -> Sequence[T]:
        """Every n-th item, for this process of the n on its machine."""
        return items[self.local_rank :: self.count // self.machines]

    def any(self, condition: bool) -> bool:
        """Whether a condition is true in any process."""
        if self.control is None:
            return condition
        answers = torch.tensor([float(condition)])
        distributed.all_reduce(answers, group=self.control)
        return bool(answers.item() > 0)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.control is not None:
            distributed.barrier(group=self.control)

    def gather(self, item: T) -> list[T]:
        """What each process has, by rank."""
        if self.control is None:
            return [item]
        items: list[T] = [item] * self.count
        distributed.all_gather_object(items, item, group=self.control)
        return items

    def broadcast(self, item: T) -> T:
        """What the first process has."""
        if self.control is None:
            return item
        items: list[T] = [item]
        distributed.broadcast_object_list(items, src=0, group=self.control)
        return items[0]

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all processes, between their devices; the same in each."""
        if self.control is None:
            return tensor
        total = tensor.clone()
        distributed.all_reduce(total)
        return total / self.count

    @contextmanager
    def together(self) -> Iterator[None]:
        """All processes end the block together: if one fails or is stopped, so do all.

        Raises:
            UserError, OSError: what went wrong in the first process in which something did.
            Stopped: a process was asked to stop.
        """
        failure: Failure | None = None
        try:
            yield
        except (Stopped, UserError, OSError) as error:
            failure = error
        if self.control is not None:
            own = failure if failure is None or self.machines == 1 else _on_host(failure, host())
            failure = next((each for each in self.gather(own) if each is not None), None)
        if failure is not None:
            raise failure


def _on_host(failure: Failure, name: str) -> Failure:
    """The same failure, which names the machine that it happened on."""
    if isinstance(failure, UserError):
        return type(failure)(f"{name}: {failure}")
    if isinstance(failure, OSError):
        # Its number tells whether a disk is full, its file name which one.
        file = f"{name}: {failure.filename}" if failure.filename else name
        return OSError(failure.errno, failure.strerror or str(failure), file)
    return failure


def control_group(timeout_s: int) -> distributed.ProcessGroup:
    """A group of all processes in which they ask each other, and give up after the timeout."""
    timeout = timedelta(seconds=timeout_s)
    group: distributed.ProcessGroup = distributed.new_group(backend="gloo", timeout=timeout)
    return group


def local_rank() -> int:
    """The rank of this process among those on its machine, as its launcher has set it."""
    return int(os.environ.get("LOCAL_RANK", "0"))
