"""One process of a run, and what it says to the others."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from attrs import define, evolve

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.runs import Choice
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.encodings import entries_folder
from cvbundle.problems import UserError
from cvbundle.training import components
from cvbundle.training.cache import EncodingCache
from cvbundle.training.encode import Encoder
from cvbundle.training.exchange import exchange, host, introduction
from cvbundle.training.group import Store, open_store
from cvbundle.training.job import Job, read_job
from cvbundle.training.kernels import same_bits
from cvbundle.training.measured import DeviceMemory
from cvbundle.training.metrics import trackers_folder
from cvbundle.training.processes import Agreement, start_processes, take_run_folder
from cvbundle.training.progress import Reporter
from cvbundle.training.record import Record

T = TypeVar("T")


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""


class FailedAlone(UserError):
    """A failure of one process that the others can't be told of: it has to say so itself."""


@define(kw_only=True)
class Session:
    """One process of a run, from start to stop."""

    job: Job
    accelerator: Any
    reporter: Reporter
    record: Record
    cache: EncodingCache
    encoder: Encoder
    stop: threading.Event
    agreement: Agreement

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        device: torch.device = self.accelerator.device
        return device

    def any(self, wanted: bool) -> bool:
        """Whether any process wants something; all have to ask."""
        return self.agreement.any(wanted)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every n-th item, for this process of n."""
        return items[self.accelerator.process_index :: self.accelerator.num_processes]

    def share_on_machine(self, items: Sequence[T]) -> Sequence[T]:
        """Every n-th item, for this process of the n on its machine."""
        count = self.job.world_size // self.job.spec.launch.num_machines
        return items[self.accelerator.local_process_index :: count]

    @contextmanager
    def together(self) -> Iterator[None]:
        """All processes end the block together: where one fails or is stopped, all are.

        Raises:
            UserError: what went wrong in the first process in which something did.
            Stopped: a process was asked to stop.
        """
        failure: Stopped | UserError | OSError | None = None
        try:
            yield
        except (Stopped, UserError, OSError) as error:
            failure = error
        if self.job.world_size > 1:
            failure = self._first(failure)
        if failure is not None:
            raise failure

    def _first(self, failure: Stopped | UserError | OSError | None) -> Any:
        """The failure of the first process that has one, as this process raises it."""
        from accelerate.utils import gather_object

        where = f"{host()}: " if self.job.spec.launch.num_machines > 1 else ""
        if isinstance(failure, OSError):
            # Its number says whether a disk is full; its name, which file it was.
            named = f"{where}{failure.filename}" if failure.filename else where[:-2] or None
            own: Any = (OSError, failure.errno, failure.strerror, named)
        elif isinstance(failure, UserError):
            own = (type(failure), f"{where}{failure}")
        else:
            own = None if failure is None else (type(failure), *failure.args)
        told = [each for each in gather_object([own]) if each is not None]
        if not told:
            return None
        kind, *arguments = told[0]
        return kind(*arguments)


def _agreed(bundle: Bundle, device: str, world_size: int) -> tuple[Job, Store | None]:
    """What is to be trained, once all processes have said that they can, and with the same.

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


@contextmanager
def open_session(
    bundle: Path, choice: Choice, device: str, world_size: int, stop: threading.Event
) -> Iterator[Session]:
    """This process's part of a bundle's run, whose folder it holds while the block runs.

    Raises:
        UserError: something on this machine is not as the bundle needs it.
    """
    components.quiet()
    job, store = _agreed(Bundle(bundle), device, world_size)
    accelerator = start_processes(job, store)
    folder, lock = take_run_folder(job, choice, accelerator)
    job = evolve(job, run=folder)
    accelerator.project_configuration.logging_dir = str(trackers_folder(folder))
    reporter = Reporter(folder, speaks=accelerator.is_main_process)
    cache = EncodingCache(entries_folder(cache_folder()))
    try:
        with same_bits():
            yield Session(
                job=job,
                accelerator=accelerator,
                reporter=reporter,
                record=Record(folder, DeviceMemory(accelerator.device), bundle=job.bundle.name),
                cache=cache,
                encoder=Encoder(job, cache),
                stop=stop,
                agreement=Agreement(world_size, job.spec.launch.timeout_s),
            )
    finally:
        reporter.close()
        if lock is not None:
            lock.release()
