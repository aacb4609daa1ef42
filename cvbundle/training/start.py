"""How a process begins: it meets the others, takes the run's folder, and opens what it writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from attrs import evolve, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.run_lock import RunLock
from cvbundle.bundle.runs import Choice, choose_run
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.encodings import entries_folder
from cvbundle.problems import UserError
from cvbundle.training import components
from cvbundle.training.accelerator import start_processes
from cvbundle.training.cache import EncodingCache
from cvbundle.training.encode import Encoder
from cvbundle.training.exchange import exchange, introduction
from cvbundle.training.group import Store, open_store
from cvbundle.training.job import Job, read_job
from cvbundle.training.kernels import same_bits
from cvbundle.training.measured import DeviceMemory
from cvbundle.training.outputs import Outputs
from cvbundle.training.processes import Processes
from cvbundle.training.progress import Reporter
from cvbundle.training.record import Record


@frozen(kw_only=True)
class Start:
    """What a process has when it begins to train, or continues."""

    job: Job
    processes: Processes
    accelerator: Accelerator
    encoder: Encoder
    outputs: Outputs


@contextmanager
def start(bundle: Path, choice: Choice, device: str, world_size: int) -> Iterator[Start]:
    """Begin or continue a run of a bundle, whose folder is locked while the block runs.

    Raises:
        UserError: something on this machine is not as the bundle needs it.
    """
    components.quiet()
    job, store = _agreed_job(Bundle(bundle), device, world_size)
    processes, accelerator = start_processes(job, store)
    folder, lock = _take_run_folder(job, choice, processes)
    job = evolve(job, run=folder)
    record = Record(folder, DeviceMemory(processes.device), bundle=job.bundle.name)
    reporter = Reporter(folder, speaks=processes.leads)
    try:
        with same_bits():
            yield Start(
                job=job,
                processes=processes,
                accelerator=accelerator,
                encoder=Encoder(job, EncodingCache(entries_folder(cache_folder()))),
                outputs=Outputs(reporter=reporter, record=record),
            )
    finally:
        reporter.close()
        if lock is not None:
            lock.release()


def _agreed_job(bundle: Bundle, device: str, world_size: int) -> tuple[Job, Store | None]:
    """The job, once all processes agree that they can train it.

    With it the store through which they find each other; None for a process that is alone.
    """
    if world_size == 1:
        return read_job(bundle, bundle.folder, device, world_size), None
    store = open_store(world_size)
    failure = None
    try:
        job = read_job(bundle, bundle.folder, device, world_size)
    except UserError as error:
        failure = str(error)
    exchange(store, world_size, introduction(bundle, device, failure))
    return job, store


def _take_run_folder(job: Job, choice: Choice, processes: Processes) -> tuple[Path, RunLock | None]:
    """The run's folder, chosen and locked by the first process."""
    folder, lock = job.run, None
    with processes.together():
        if processes.leads:
            folder = choose_run(job.bundle.runs_folder, choice).folder
            lock = RunLock(folder)
    return processes.broadcast(folder), lock
