"""A run from its first phase to its result.

Nothing is held longer than its phase needs: captions are encoded and the text encoder is released,
clips are encoded and the VAE is released, then the transformer is loaded.
"""

import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import torch
from attrs import asdict, evolve

from cvbundle.bundle.layout import RUN_EVALUATION, RUN_METRICS
from cvbundle.bundle.packages import drift
from cvbundle.bundle.run import read_metrics
from cvbundle.bundle.runs import Choice
from cvbundle.problems import UserError
from cvbundle.training.card import model_card
from cvbundle.training.device import device_name, driver_version, free
from cvbundle.training.export import export_adapter, export_transformer, result_digests
from cvbundle.training.fill import damage_removed, fill_cache
from cvbundle.training.group import is_of_the_group
from cvbundle.training.job import Job
from cvbundle.training.kernels import attention_backend, attention_shape, fastest
from cvbundle.training.load import load_trainer
from cvbundle.training.loop import Trainer
from cvbundle.training.metrics import Metrics
from cvbundle.training.outputs import Outputs
from cvbundle.training.processes import Processes, Stopped
from cvbundle.training.samples import sample_source
from cvbundle.training.sharding import gathered
from cvbundle.training.start import Start, start
from cvbundle.training.steps import run_steps
from cvbundle.training.trackers import start_trackers
from cvbundle.training.validate import averaged


def train(
    bundle: Path, choice: Choice, device: str, world_size: int, stop: threading.Event
) -> Path:
    """Train a bundle, or continue a run of it; the run's folder.

    Raises:
        UserError: something on this machine is not as the bundle needs it.
        Stopped: `stop` was set; the state is saved.
    """
    with start(bundle, choice, device, world_size) as begun:
        if begun.outputs.record.data.get("status") == "complete":
            begun.outputs.reporter.print(f"run {begun.job.run.name} is complete")
        else:
            _attempt(begun, stop)
        return begun.job.run


def _attempt(begun: Start, stop: threading.Event) -> None:
    """Train from where the run is, and record the outcome."""
    job, processes, outputs = begun.job, begun.processes, begun.outputs
    if processes.leads:
        _record_start(job, processes.device, outputs)
    outputs.reporter.print(
        f"{job.spec.name}: {len(job.samples)} samples, {job.total_steps} steps of "
        f"{job.spec.global_batch}, run {job.run}"
    )
    try:
        with _failure_recorded(processes, outputs), damage_removed(job, begun.encoder):
            fill_cache(job, begun.encoder, processes, outputs, stop)
            with _kernels(job, processes.device):
                result = _train(begun, stop)
    finally:
        # Closes the trackers, and leaves the group of processes.
        begun.accelerator.end_training()
    if processes.leads:
        outputs.record.stop("complete", "done", **result)


def _train(begun: Start, stop: threading.Event) -> Mapping[str, object]:
    """Train to the end and write the result; returns what `run.json` records of it."""
    job, processes, encoder = begun.job, begun.processes, begun.encoder
    record = begun.outputs.record
    with record.phase("load"):
        trainer = load_trainer(job, processes, begun.accelerator, begun.outputs.reporter)
    if processes.leads:
        shape = attention_shape(job)
        backend = attention_backend(shape, trainer.model.dtype, processes.device)
        record.note(attention=backend)
    with _metrics(trainer) as metrics:
        trackers = start_trackers(begun.accelerator, job.spec.tracking, job.run, trainer.step)
        outputs = evolve(begun.outputs, metrics=metrics, trackers=trackers)
        for _ in run_steps(trainer, sample_source(job, encoder), encoder, outputs, stop):
            pass
        with processes.together():
            return _export(trainer, outputs)


def _export(trainer: Trainer, outputs: Outputs) -> Mapping[str, object]:
    """Write the result; returns what is recorded of it by the process that writes."""
    job, leads = trainer.job, trainer.processes.leads
    # The steps are done, and what only they need is as large as all the rest.
    trainer.optimizer.state.clear()
    trainer.model = evolve(trainer.model, vae=None)
    free(trainer.processes.device)
    with outputs.record.phase("export"), averaged(trainer):
        weights = gathered(trainer.trained, keep=leads)
        if not leads:
            return {}
        rows = list(read_metrics(job.run / RUN_METRICS))
        card = model_card(job, rows)
        if job.spec.lora is not None:
            folder = export_adapter(job.run, trainer.model.transformer, weights, card)
        else:
            folder = export_transformer(job, weights, card)
    outputs.reporter.print(f"{folder.name} {folder}")
    return {
        "result": folder.name,
        "digests": result_digests(folder, job.run),
        "steps": job.total_steps,
        "final_loss": rows[-1]["loss"] if rows else None,
    }


@contextmanager
def _metrics(trainer: Trainer) -> Iterator[Metrics | None]:
    """The run's metrics up to the step that is done, in the process that writes."""
    job = trainer.job
    if not trainer.processes.leads:
        yield None
        return
    metrics = Metrics(job.run / RUN_METRICS, done=trainer.step)
    if job.spec.validation is not None:
        # Drops what an attempt evaluated after the checkpoint that this one resumes from.
        Metrics(job.run / RUN_EVALUATION, done=trainer.step).close()
    try:
        yield metrics
    finally:
        metrics.close()


def _kernels(job: Job, device: torch.device) -> AbstractContextManager[None]:
    """The kernels to train with. Encodings are shared by all bundles, and always deterministic."""
    return nullcontext() if job.spec.training.deterministic else fastest(device)


def _record_start(job: Job, device: torch.device, outputs: Outputs) -> None:
    locked = job.bundle.requirements
    outputs.record.start(
        device=str(device),
        device_name=device_name(device),
        driver=driver_version(device),
        threads=torch.get_num_threads(),
        deterministic=job.spec.training.deterministic,
        world_size=job.world_size,
        torch=version("torch"),
        packages=dict(locked),
        drift=[asdict(each) for each in drift(locked)],
    )


@contextmanager
def _failure_recorded(processes: Processes, outputs: Outputs) -> Iterator[None]:
    """Record why the block has failed or was stopped, and raise it."""
    try:
        yield
    except Stopped as reason:
        if processes.leads:
            outputs.record.stop("stopped", str(reason))
        # The launcher ends the others as soon as one is gone.
        processes.wait()
        raise
    # Whatever it is: a run that failed must not look as if it were still going on.
    except Exception as error:
        # Of a process that is gone the launcher knows more.
        if not is_of_the_group(error):
            if not isinstance(error, UserError | OSError | torch.OutOfMemoryError):
                outputs.reporter.log(traceback.format_exc())
            if processes.leads:
                outputs.record.stop("failed", str(error) or type(error).__name__)
        raise
