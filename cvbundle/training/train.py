"""A run from its first phase to its result.

Nothing is held longer than its phase needs: captions are encoded and the text encoder is let go,
clips are encoded and the VAE is let go, then the transformer is loaded.
"""

import threading
import time
import traceback
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from attrs import asdict, evolve

from cvbundle.bundle.layout import RUN_CHECKPOINTS, RUN_EVALUATION, RUN_METRICS
from cvbundle.bundle.packages import drift
from cvbundle.bundle.run import Row, read_metrics
from cvbundle.bundle.runs import Choice
from cvbundle.problems import UserError
from cvbundle.training import loader
from cvbundle.training.card import model_card
from cvbundle.training.device import device_name, driver_version, free
from cvbundle.training.export import export_adapter, export_transformer, result_digests
from cvbundle.training.fill import fill_cache
from cvbundle.training.group import is_of_the_group
from cvbundle.training.kernels import attention_backend, attention_shape, fastest
from cvbundle.training.load import load_trainer
from cvbundle.training.loop import Trainer
from cvbundle.training.measured import StepClock
from cvbundle.training.metrics import Metrics, start_trackers
from cvbundle.training.record import Record
from cvbundle.training.samples import Batch, SampleSource, sample_source
from cvbundle.training.saver import Saver
from cvbundle.training.session import FailedAlone, Session, Stopped, open_session
from cvbundle.training.sharding import gathered
from cvbundle.training.validate import averaged, validate

T = TypeVar("T")


def train(
    bundle: Path, choice: Choice, device: str, world_size: int, stop: threading.Event
) -> Path:
    """Train a bundle, or go on with it; the run's folder.

    Raises:
        UserError: something on this machine is not as the bundle needs it.
        Stopped: `stop` was set; the state is saved.
    """
    with open_session(bundle, choice, device, world_size, stop) as session:
        if session.record.data.get("status") == "complete":
            session.reporter.say(f"run {session.job.run.name} is complete")
        else:
            _attempt(session)
        return session.job.run


def _attempt(session: Session) -> None:
    """Start or go on, and put down how it ended."""
    job = session.job
    if session.leads:
        locked = job.bundle.requirements
        session.record.start(
            device=str(session.device),
            device_name=device_name(session.device),
            driver=driver_version(session.device),
            threads=torch.get_num_threads(),
            deterministic=job.spec.training.deterministic,
            world_size=job.world_size,
            torch=version("torch"),
            packages=dict(locked),
            drift=[asdict(each) for each in drift(locked)],
        )
    session.reporter.say(
        f"{job.spec.name}: {len(job.samples)} samples, {job.total_steps} steps of "
        f"{job.spec.global_batch}, run {job.run}"
    )
    try:
        fill_cache(session)
        with _kernels(session):
            result = _train(session)
    except Stopped as reason:
        _put_down(session, reason)
        # The launcher ends the others as soon as one is gone.
        session.accelerator.wait_for_everyone()
        raise
    except BaseException as error:
        # Of a process that is gone the launcher knows more.
        if not is_of_the_group(error):
            _put_down(session, error)
        raise
    finally:
        # Closes the trackers, and leaves the group of processes.
        session.accelerator.end_training()
    if session.leads:
        session.record.stop("complete", "done", **result)


def _put_down(session: Session, error: BaseException) -> None:
    """Say in the record how an attempt ended, and in the log where nobody expected it to."""
    if not isinstance(error, Stopped | UserError | OSError | torch.OutOfMemoryError):
        session.reporter.note(traceback.format_exc())
    if session.leads:
        status = "stopped" if isinstance(error, Stopped) else "failed"
        session.record.stop(status, str(error) or type(error).__name__)


def _train(session: Session) -> dict[str, Any]:
    """Train to the end and write the result; what `run.json` says of it."""
    job, record = session.job, session.record
    with record.phase("load"):
        trainer = load_trainer(session)
    if session.leads:
        shape, dtype = attention_shape(job), trainer.model.dtype
        record.note(attention=attention_backend(shape, dtype, session.device))
    metrics = Metrics(job.run / RUN_METRICS, done=trainer.step) if session.leads else None
    if session.leads and job.spec.validation is not None:
        # What an attempt found out beyond the checkpoint that this one goes on from.
        Metrics(job.run / RUN_EVALUATION, done=trainer.step).close()
    if job.spec.tracking.report_to:
        start_trackers(session.accelerator, job.spec, job.run, trainer.step)
    try:
        for _ in run_steps(session, trainer, metrics):
            pass
        with session.together():
            result = _export(session, trainer)
    finally:
        if metrics is not None:
            metrics.close()
    return result


def run_steps(session: Session, trainer: Trainer, metrics: Metrics | None) -> Iterator[None]:
    """The steps, with a checkpoint and a validation wherever one is due; yields after each step.

    Raises:
        Stopped: the run was asked to stop; the state is saved.
    """
    job, spec = session.job, session.job.spec
    source = sample_source(job, session.cache, session.encoder)
    validate(session, trainer, source)
    with (
        closing(_batches(session, trainer.step, source)) as batches,
        closing(_saver(session, trainer)) as saver,
        session.reporter.phase("training", job.total_steps, trainer.step) as bar,
    ):
        trainer.stop_asked = lambda: session.any(session.stop.is_set() or saver.failed)
        steps = trainer.steps(batches)
        for rows in _timed(steps, session.record):
            if metrics is not None:
                metrics.write(rows)
            if rows:
                session.reporter.note(_told(rows[-1]))
            for row in rows if spec.tracking.report_to else ():
                points = {key: row[key] for key in ("loss", "grad_norm", "lr")}
                known = {key: point for key, point in points.items() if point is not None}
                session.accelerator.log(known, step=int(row["step"]))
            bar.advance(f"loss {rows[-1]['loss']:.4f}" if rows else "")
            due = trainer.step % spec.checkpointing.steps == 0 or trainer.step == job.total_steps
            if due or trainer.stopping:
                if metrics is not None:
                    metrics.sync()
                with session.record.phase("checkpoint"), session.together():
                    saver.save(trainer.state())
            if due:
                if trainer.average is not None:
                    # It takes the place of the weights meanwhile.
                    saver.before_change()
                validate(session, trainer, source)
            yield
        with session.record.phase("checkpoint"), session.together():
            saver.wait()
    if trainer.step < job.total_steps:
        raise Stopped(f"after step {trainer.step}")


def _told(row: Row) -> str:
    """A step as the log has it."""
    norm = "overflowed" if row["grad_norm"] is None else f"{row['grad_norm']:.4g}"
    return f"step {row['step']}: loss {row['loss']:.6g}, gradient norm {norm}, lr {row['lr']:.4g}"


def _batches(session: Session, first_step: int, source: SampleSource) -> Generator[Batch]:
    job = session.job
    numbers = loader.batch_numbers(
        first_step=first_step,
        last_step=job.total_steps,
        global_batch=job.spec.global_batch,
        batch=job.spec.training.batch_size,
        rank=session.accelerator.process_index,
        world_size=job.world_size,
    )
    try:
        yield from loader.batches(source, numbers, session.device)
    except UserError as error:
        if job.world_size == 1:
            raise
        # The others wait for this process's gradients: they can't be told.
        raise FailedAlone(str(error)) from None


def _saver(session: Session, trainer: Trainer) -> Saver:
    spec = session.job.spec
    return Saver(
        session.job.run / RUN_CHECKPOINTS,
        trainer.optimizer,
        limit=spec.checkpointing.limit,
        writes=session.leads,
        shared=spec.launch.kind.shards,
    )


def _kernels(session: Session) -> AbstractContextManager[None]:
    """The kernels to train with. What is encoded is for all bundles: those are always the same."""
    deterministic = session.job.spec.training.deterministic
    return nullcontext() if deterministic else fastest(session.device)


def _export(session: Session, trainer: Trainer) -> dict[str, Any]:
    """Write the result; what the record says of it, in the process that writes."""
    job = session.job
    # The steps are done, and what only they need is as large as all the rest.
    trainer.optimizer.state.clear()
    trainer.model = evolve(trainer.model, vae=None)
    free(session.device)
    with session.record.phase("export"), averaged(trainer):
        weights = gathered(trainer.trained, keep=session.leads)
        if not session.leads:
            return {}
        rows = list(read_metrics(job.run / RUN_METRICS))
        card = model_card(job, rows)
        if job.spec.lora is not None:
            transformer = session.accelerator.unwrap_model(trainer.model.transformer)
            folder = export_adapter(job.run, transformer, weights, card)
        else:
            folder = export_transformer(job, weights, card)
    session.reporter.say(f"{folder.name} {folder}")
    return {
        "result": folder.name,
        "digests": result_digests(folder, job.run),
        "steps": job.total_steps,
        "final_loss": rows[-1]["loss"] if rows else None,
    }


def _timed(steps: Iterator[list[Row]], record: Record) -> Iterator[list[Row]]:
    """The same steps; the time that each takes to come counts to the phase of training."""
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
