"""The processes of a run: as many as planned, on the devices planned, in one folder."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from cvbundle.bundle.run_lock import RunLock
from cvbundle.bundle.runs import Choice, choose_run
from cvbundle.problems import UserError
from cvbundle.training.device import process_device
from cvbundle.training.group import Store, start_group
from cvbundle.training.job import Job


def start_processes(job: Job, store: Store | None) -> Any:
    """accelerate's view of this process and the others, or an error before anything is done.

    `store` is the one through which they find each other; None for a process that is alone.

    Raises:
        UserError: processes, devices or strategy are not what was planned.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedType

    precision = job.spec.training.mixed_precision
    sharded = job.spec.launch.kind.shards
    if job.device == "cpu" and precision == "fp16":
        raise UserError("fp16 needs a GPU: set training.mixed_precision to bf16 or no")
    if store is not None:
        _without_peer_to_peer()
        start_group(store, job.device, job.spec.launch.timeout_s)
    with default_device(process_device(job.device)):
        accelerator = Accelerator(
            cpu=job.device == "cpu",
            # The trainer puts everything where it belongs: what was forgotten should be noticed.
            device_placement=False,
            mixed_precision=precision,
            log_with=list(job.spec.tracking.report_to) or None,
            # Trackers want to know at once that there is a folder; which one is known later.
            project_dir=job.run,
            kwargs_handlers=[data_parallel()],
        )
    several = DistributedType.MULTI_CPU if job.device == "cpu" else DistributedType.MULTI_GPU
    expected = {several} if job.world_size > 1 else {DistributedType.NO}
    if sharded:
        # What `accelerate launch` makes of accelerate.yaml, also for one.
        expected |= {several, DistributedType.FSDP}
    found = (accelerator.num_processes, accelerator.device.type, accelerator.distributed_type)
    if found[:2] != (job.world_size, job.device) or found[2] not in expected:
        raise UserError(
            f"planned were {job.world_size} processes on {job.device}, but accelerate started "
            f"{found[0]} on {found[1]} ({found[2].value})"
        )
    if sharded and not distributed.is_initialized():
        store = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group(store=store, rank=0, world_size=1)
    return accelerator


@contextmanager
def default_device(device: torch.device) -> Iterator[None]:
    """An Accelerator made in the block is on this device, whatever the environment names.

    It reads the environment (accelerate/state.py, `PartialState.__init__`), and takes a device
    without an index of its own accord. With another process's device autocast would do nothing.
    """
    name = "ACCELERATE_TORCH_DEVICE"
    before = os.environ.get(name)
    os.environ[name] = str(device)
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _without_peer_to_peer() -> None:
    """Tell NCCL where GPUs can't reach each other's memory, which `accelerate launch` does too.

    They are the GeForce 40 cards of old drivers; accelerate refuses to go on with these otherwise.
    """
    from accelerate.utils import check_cuda_p2p_ib_support

    if not check_cuda_p2p_ib_support():
        os.environ.setdefault("NCCL_P2P_DISABLE", "1")
        os.environ.setdefault("NCCL_IB_DISABLE", "1")


def data_parallel() -> Any:
    """How DDP exchanges gradients: in the same order at every step of every attempt.

    Otherwise it lays its buckets out anew after the first backward, in the order in which gradients
    came, and a sum of three or more has other bits then: a resumed run would not be the one that
    was never interrupted. It leaves them where it has to look for unused parameters
    (torch/csrc/distributed/c10d/reducer.hpp, `should_rebuild_buckets`), for which it walks the
    graph of a step once and sums a byte a parameter.

    Buffers are the same everywhere, as none is trained, and a gradient is a view of its bucket.
    """
    from accelerate import DistributedDataParallelKwargs

    # torch 2.13 has another name for it, which earlier versions don't know.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is dep", category=FutureWarning)
    return DistributedDataParallelKwargs(
        broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
    )


def take_run_folder(job: Job, choice: Choice, accelerator: Any) -> tuple[Path, RunLock | None]:
    """The run's folder, chosen by the first process and held by it."""
    from accelerate.utils import broadcast_object_list

    told: list[Any] = [None]
    lock = None
    if accelerator.is_main_process:
        try:
            folder = choose_run(job.bundle.runs_folder, choice).folder
            lock = RunLock(folder)
            told = [str(folder)]
        except UserError as error:
            told = [error]
    if job.world_size > 1:
        broadcast_object_list(told)
    if isinstance(told[0], UserError):
        raise told[0]
    return Path(str(told[0])), lock


class Agreement:
    """Whether any process wants something, asked of all of them at the same step.

    Asked between the processors: between devices it would wait for the step that they compute.
    """

    def __init__(self, world_size: int, timeout_s: int) -> None:
        self._group = None
        if world_size > 1:
            timeout = timedelta(seconds=timeout_s)
            self._group = distributed.new_group(backend="gloo", timeout=timeout)

    def any(self, wanted: bool) -> bool:
        """True in all processes if `wanted` is in one."""
        if self._group is None:
            return wanted
        asked = torch.tensor([float(wanted)])
        distributed.all_reduce(asked, group=self._group)
        return bool(asked.item() > 0)
