"""The steps of a run, with the checkpoints and the validations between them."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing

from cvbundle.bundle.layout import RUN_CHECKPOINTS
from cvbundle.bundle.run import Row
from cvbundle.problems import UserError
from cvbundle.training import loader
from cvbundle.training.encode import Encoder
from cvbundle.training.loop import Trainer
from cvbundle.training.measured import StepClock
from cvbundle.training.outputs import Outputs
from cvbundle.training.processes import FailedAlone, Stopped
from cvbundle.training.record import Record
from cvbundle.training.samples import Batch, SampleSource
from cvbundle.training.saver import Saver
from cvbundle.training.validate import validate


def run_steps(
    trainer: Trainer,
    source: SampleSource,
    encoder: Encoder,
    outputs: Outputs,
    stop: threading.Event,
) -> Iterator[None]:
    """Train to the end, with a checkpoint and a validation where one is due; yields at each step.

    Raises:
        Stopped: the run was asked to stop; the state is saved.
    """
    job, processes, record = trainer.job, trainer.processes, outputs.record
    validate(trainer, source, encoder, outputs)
    with (
        closing(_batches(trainer, source)) as batches,
        closing(_saver(trainer)) as saver,
        outputs.reporter.phase("training", job.total_steps, trainer.step) as bar,
    ):
        steps = trainer.steps(batches, lambda: processes.any(stop.is_set() or saver.failed))
        for rows in _timed(steps, record):
            outputs.add(rows)
            bar.advance(f"loss {rows[-1]['loss']:.4f}" if rows else "")
            is_last = trainer.step == job.total_steps
            due = is_last or trainer.step % job.spec.checkpointing.steps == 0
            if due or trainer.stopping:
                outputs.sync()
                with record.phase("checkpoint"), processes.together():
                    saver.save(trainer.state())
            if due:
                if trainer.average is not None:
                    # It takes the place of the weights meanwhile.
                    saver.before_change()
                validate(trainer, source, encoder, outputs)
            yield
        with record.phase("checkpoint"), processes.together():
            saver.wait()
    if trainer.step < job.total_steps:
        raise Stopped(f"after step {trainer.step}")


def _batches(trainer: Trainer, source: SampleSource) -> Generator[Batch]:
    """This process's batches from the next step on."""
    job, processes = trainer.job, trainer.processes
    numbers = loader.batch_numbers(
        first_step=trainer.step,
        last_step=job.total_steps,
        global_batch=job.spec.global_batch,
        batch=job.spec.training.batch_size,
        rank=processes.rank,
        world_size=processes.count,
    )
    try:
        yield from loader.batches(source, numbers, processes.device)
    except UserError as error:
        if processes.count == 1:
            raise
        # The others wait for this process's gradients, and can't learn of it.
        raise FailedAlone(str(error)) from None


def _saver(trainer: Trainer) -> Saver:
    spec = trainer.job.spec
    return Saver(
        trainer.job.run / RUN_CHECKPOINTS,
        trainer.optimizer,
        limit=spec.checkpointing.limit,
        writes=trainer.processes.leads,
        shared=spec.launch.kind.shards,
    )


def _timed(steps: Iterator[list[Row]], record: Record) -> Iterator[list[Row]]:
    """The same steps; the time until each arrives counts to the phase of training."""
    clock = StepClock()
    while True:
        with record.phase("train"):
            began = time.monotonic()
            try:
                rows = next(steps)
            except StopIteration:
                return
            clock.add(time.monotonic() - began, waited=bool(rows))
        if rows:
            record.data["seconds_a_step"] = clock.median
        yield rows
