"""The group of a run's processes: the store through which they find each other, and its errors."""

import os
from datetime import timedelta

from torch import distributed
from torch.distributed import Store as Store  # type: ignore[attr-defined]
from torch.distributed import TCPStore, rendezvous  # type: ignore[attr-defined]

from cvbundle.problems import UserError
from cvbundle.training.launcher import STORE

_TO_OPEN = timedelta(minutes=5)
"""For all processes to import torch and come."""


def open_store(world_size: int) -> Store:
    """The store of the group, on the first process, where our launcher gave it a socket for that.

    `torchrun` and `accelerate launch` say where it is in the environment.

    Raises:
        UserError: it can't be reached.
    """
    started = os.environ.get("WORLD_SIZE", "1")
    if started != str(world_size):
        raise UserError(
            f"planned were {world_size} processes, but {started} started: run launch.sh, which "
            "starts as many as CVBUNDLE_NUM_PROCESSES says"
        )
    descriptor = os.environ.get(STORE)
    try:
        if descriptor is not None:
            return TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                world_size,
                is_master=True,
                timeout=_TO_OPEN,
                wait_for_workers=False,
                master_listen_fd=int(descriptor),
            )
        store, _, _ = next(rendezvous("env://", timeout=_TO_OPEN))
    except (distributed.DistError, ValueError) as error:
        raise UserError(
            f"the first process can't be reached ({str(error).splitlines()[0]}): see what it says"
        ) from None
    opened: Store = store
    return opened


def start_group(store: Store, device: str, timeout_s: int) -> None:
    """Join the group of all processes, which gives up on one that says nothing for so long.

    Tensors on the processor are exchanged too: what processes say to each other, and shares of a
    model that are offloaded.
    """
    distributed.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=store,
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timedelta(seconds=timeout_s),
    )


def is_of_the_group(error: BaseException) -> bool:
    """Whether an error says that a process of the group is gone, or is silent for too long.

    gloo has no class of errors; its messages begin with the file that they come from.
    """
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and "/gloo/" in str(error).partition("]")[0]
