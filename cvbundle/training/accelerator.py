"""accelerate, as far as the trainer uses it: DDP, the precision of the forward pass, trackers."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType, check_cuda_p2p_ib_support
from torch import distributed

from cvbundle.problems import UserError
from cvbundle.training.device import process_device
from cvbundle.training.group import Store, start_group
from cvbundle.training.job import Job
from cvbundle.training.processes import Processes, control_group, local_rank


def start_processes(job: Job, store: Store | None) -> tuple[Processes, Accelerator]:
    """Join the other processes; accelerate is started with as many as are planned.

    `store` is the one through which they find each other; None for a process that is alone.

    Raises:
        UserError: processes, devices or strategy are not what was planned.
    """
    precision = job.spec.training.mixed_precision
    if job.device == "cpu" and precision == "fp16":
        raise UserError("fp16 needs a GPU: set training.mixed_precision to bf16 or no")
    if store is not None:
        _without_peer_to_peer()
        start_group(store, job.device, job.spec.launch.timeout_s)
    with default_device(process_device(job.device)):
        accelerator = Accelerator(
            cpu=job.device == "cpu",
            # The trainer places everything itself, so that a tensor that was forgotten is noticed.
            device_placement=False,
            mixed_precision=precision,
            log_with=list(job.spec.tracking.report_to) or None,
            # Trackers need a folder from the start; the run's is not chosen yet.
            project_dir=job.run,
            kwargs_handlers=[data_parallel()],
        )
    _check_started(accelerator, job)
    if job.spec.launch.kind.shards and not distributed.is_initialized():
        alone = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group(store=alone, rank=0, world_size=1)
    processes = Processes(
        rank=accelerator.process_index,
        count=job.world_size,
        local_rank=local_rank(),
        machines=job.spec.launch.num_machines,
        device=accelerator.device,
        control=control_group(job.spec.launch.timeout_s) if job.world_size > 1 else None,
    )
    return processes, accelerator


@contextmanager
def default_device(device: torch.device) -> Iterator[None]:
    """An Accelerator that is made in the block is on this device, whatever the environment names.

    It reads the environment (accelerate/state.py, `PartialState.__init__`), and by itself chooses a
    device without an index. With another process's device autocast would do nothing.
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


def _check_started(accelerator: Accelerator, job: Job) -> None:
    several = DistributedType.MULTI_CPU if job.device == "cpu" else DistributedType.MULTI_GPU
    expected = {several} if job.world_size > 1 else {DistributedType.NO}
    if job.spec.launch.kind.shards:
        # What `accelerate launch` makes of accelerate.yaml, also for one process.
        expected |= {several, DistributedType.FSDP}
    count, device = accelerator.num_processes, accelerator.device.type
    kind = accelerator.distributed_type
    if (count, device) != (job.world_size, job.device) or kind not in expected:
        raise UserError(
            f"planned were {job.world_size} processes on {job.device}, but accelerate started "
            f"{count} on {device} ({kind.value})"
        )


def _without_peer_to_peer() -> None:
    """Tell NCCL where GPUs can't reach each other's memory, as `accelerate launch` does.

    These are GeForce 40 cards with old drivers, on which accelerate refuses to start otherwise.
    """
    if not check_cuda_p2p_ib_support():
        os.environ.setdefault("NCCL_P2P_DISABLE", "1")
        os.environ.setdefault("NCCL_IB_DISABLE", "1")


def data_parallel() -> DistributedDataParallelKwargs:
    """How DDP exchanges gradients: in the same order at every step of every attempt.

    By default it rebuilds its buckets after the first backward, in the order in which gradients
    arrived, and a sum of three or more then has other bits: a resumed run would not be the one that
    was never interrupted. It keeps them where it has to look for unused parameters
    (torch/csrc/distributed/c10d/reducer.hpp, `should_rebuild_buckets`), for which it walks the
    graph of a step once and sums a byte per parameter: 1 % of the processor's time in a step of 30
    tiny blocks, 2 to 3 % of two, and less the longer a block computes (benchmarks.buckets).

    Buffers are the same everywhere, since none is trained, and a gradient is a view of its bucket.
    """
    # torch 2.13 has another name for it, which earlier versions don't know.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is dep", category=FutureWarning)
    return DistributedDataParallelKwargs(
        broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
    )
