"""A run from its first phase to its result.

Nothing is held longer than its phase needs: captions are encoded and the text encoder is let go,
clips are encoded and the VAE is let go, then the transformer is loaded.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from attrs import define, evolve

from cvbundle.bundle.environment import drift, locked_versions
from cvbundle.bundle.layout import REQUIREMENTS, RUN_CHECKPOINTS, RUN_METRICS, RUN_SAMPLES
from cvbundle.bundle.places import local_paths
from cvbundle.bundle.runs import Choice, RunLock, choose_run, runs_folder
from cvbundle.cache_folder import cache_folder
from cvbundle.model.pin import verify_files
from cvbundle.problems import UserError
from cvbundle.training import checkpoint, components, preview
from cvbundle.training.cache import EncodingCache
from cvbundle.training.card import model_card
from cvbundle.training.encode import Encoder
from cvbundle.training.export import export_adapter, export_transformer, result_digests
from cvbundle.training.job import Device, Job, read_job
from cvbundle.training.loop import Model, Trainer
from cvbundle.training.metrics import Metrics, read_metrics, start_trackers, trackers_folder
from cvbundle.training.objective import Velocity, ofs_embedding, rotary_embedding
from cvbundle.training.optimizers import make_optimizer, make_schedule
from cvbundle.training.progress import Reporter
from cvbundle.training.randomness import SampleOrder
from cvbundle.training.record import Record
from cvbundle.training.samples import SampleSource, batch_numbers, loader
from cvbundle.training.weights import Average, make_trainable

T = TypeVar("T")


class Stopped(Exception):
    """The run was asked to stop, and its state is saved."""


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

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        device: torch.device = self.accelerator.device
        return device


def train(
    bundle: Path, choice: Choice, device: Device, world_size: int, stop: threading.Event
) -> Path:
    """Train a bundle, or go on with it; the run's folder.

    Raises:
        UserError: something on this machine is not as the bundle needs it.
        Stopped: `stop` was set; the state is saved.
    """
    torch.use_deterministic_algorithms(True)
    components.quiet()
    job = read_job(bundle, bundle, device, world_size)
    accelerator = _accelerator(job)
    folder, lock = _run_folder(job, choice, accelerator)
    job = evolve(job, run=folder)
    accelerator.project_configuration.logging_dir = str(trackers_folder(folder))
    reporter = Reporter(folder, speaks=accelerator.is_main_process)
    record = Record(folder, bundle=bundle.name)
    cache = EncodingCache(cache_folder() / "encodings")
    session = Session(
        job=job,
        accelerator=accelerator,
        reporter=reporter,
        record=record,
        cache=cache,
        encoder=Encoder(job, cache),
        stop=stop,
    )
    try:
        if record.data.get("status") == "complete":
            reporter.say(f"run {folder.name} is complete")
        else:
            _attempt(session)
    finally:
        reporter.close()
        if lock is not None:
            lock.release()
    return folder


def _attempt(session: Session) -> None:
    """Start or go on, and put down how it ended."""
    job = session.job
    if session.leads:
        requirements = (job.bundle / REQUIREMENTS).read_text("utf-8")
        session.record.start(
            device=str(session.device),
            device_name=_device_name(session.device),
            threads=torch.get_num_threads(),
            world_size=job.world_size,
            torch=version("torch"),
            packages=dict(locked_versions(requirements)),
            drift=[str(found) for found in drift(requirements)],
        )
    session.reporter.say(
        f"{job.spec.name}: {len(job.samples)} samples, {job.total_steps} steps of "
        f"{job.spec.global_batch}, run {job.run}"
    )
    try:
        _encode(session)
        result = _train(session)
    except (Stopped, UserError, OSError, torch.OutOfMemoryError) as error:
        if session.leads:
            status = "stopped" if isinstance(error, Stopped) else "failed"
            session.record.stop(status, str(error) or "signal")
        raise
    if session.leads:
        session.record.stop("complete", "done", **result)


def _accelerator(job: Job) -> Any:
    """Processes and devices as planned, or an error before anything is done."""
    from accelerate import Accelerator, InitProcessGroupKwargs
    from accelerate.utils import DistributedType

    precision = job.spec.training.mixed_precision
    if job.device == "cpu" and precision == "fp16":
        raise UserError("fp16 needs a GPU: set training.mixed_precision to bf16 or no")
    handlers = []
    if job.world_size > 1:
        timeout = timedelta(seconds=job.spec.launch.timeout_s)
        handlers.append(InitProcessGroupKwargs(timeout=timeout))
    accelerator = Accelerator(
        cpu=job.device == "cpu",
        mixed_precision=precision,
        log_with=list(job.spec.tracking.report_to) or None,
        # Trackers want to know at once that there is a folder; which one is known later.
        project_dir=job.run,
        kwargs_handlers=handlers,
    )
    many = {"cpu": DistributedType.MULTI_CPU, "cuda": DistributedType.MULTI_GPU}
    expected = DistributedType.NO if job.world_size == 1 else many[job.device]
    found = (accelerator.num_processes, accelerator.device.type, accelerator.distributed_type)
    if found[0] != job.world_size or found[1] != job.device or found[2] != expected:
        raise UserError(
            f"planned were {job.world_size} processes on {job.device}, but accelerate started "
            f"{found[0]} on {found[1]} ({found[2].value})"
        )
    return accelerator


def _run_folder(job: Job, choice: Choice, accelerator: Any) -> tuple[Path, RunLock | None]:
    """The run's folder, chosen by the first process and held by it."""
    from accelerate.utils import broadcast_object_list

    told: list[Any] = [None]
    lock = None
    if accelerator.is_main_process:
        output = local_paths(job.bundle)["output.dir"]
        try:
            folder = choose_run(runs_folder(job.bundle, output), choice).folder
            lock = RunLock(folder)
            told = [str(folder)]
        except UserError as error:
            told = [error]
    if job.world_size > 1:
        broadcast_object_list(told)
    if isinstance(told[0], UserError):
        raise told[0]
    return Path(str(told[0])), lock


def _encode(session: Session) -> None:
    """Bring every encoding that the run needs into the cache."""
    job, encoder = session.job, session.encoder
    captions = encoder.missing_captions(_captions(job))
    clips = encoder.missing_clips(job.samples)
    _verify(session, captions=bool(captions), clips=bool(clips))
    _each(session, "captions", "caption", captions, encoder.encode_captions)
    _each(session, "clips", "clip", clips, encoder.encode_clips)
    session.accelerator.wait_for_everyone()


def _each(
    session: Session,
    name: str,
    unit: str,
    missing: Sequence[T],
    work: Callable[[Sequence[T], torch.device], Iterator[T]],
) -> None:
    """Encode this process's share of what is missing."""
    mine = _share(missing, session.accelerator)
    if not mine:
        return
    with session.record.phase(name), session.reporter.phase(name, len(mine), unit=unit) as bar:
        for _ in work(mine, session.device):
            bar.advance()
            if session.stop.is_set():
                raise Stopped(f"while {name} were encoded")
    components.free(session.device)


def _verify(session: Session, *, captions: bool, clips: bool) -> None:
    """Make sure that the weights which will be loaded are those that the bundle pins."""
    job = session.job
    if job.hub_commit is not None or not session.leads:
        return
    needed = {"transformer", "scheduler"}
    if captions:
        needed |= {"text_encoder", "tokenizer"}
    if clips or job.spec.validation is not None or job.spec.model.type == "i2v":
        needed.add("vae")
    files = [file for file in job.model_files if file.path.split("/")[0] in needed]
    with session.record.phase("verify"):
        verify_files(job.model_folder, files)


def _captions(job: Job) -> list[str]:
    """Every text that has to be embedded: captions, none, and validation prompts."""
    captions = [sample.caption for sample in job.samples]
    if job.spec.data.caption_dropout > 0 or job.spec.validation is not None:
        captions.append("")
    if job.spec.validation is not None:
        captions.extend(job.spec.validation.prompts)
    return captions


def _train(session: Session) -> dict[str, Any]:
    """Train to the end and write the result; what `run.json` says of it."""
    job, record = session.job, session.record
    with record.phase("load"):
        trainer, base_dtype = _trainer(session)
    metrics = Metrics(job.run, done=trainer.step) if session.leads else None
    if job.spec.tracking.report_to:
        start_trackers(session.accelerator, job.spec, job.run, trainer.step)
    try:
        _loop(session, trainer, metrics)
        with record.phase("export"):
            result = _export(session, trainer, base_dtype) if session.leads else {}
        session.accelerator.wait_for_everyone()
    finally:
        if metrics is not None:
            metrics.close()
        # Closes the trackers, and leaves the group of processes.
        session.accelerator.end_training()
    return result


def _trainer(session: Session) -> tuple[Trainer, torch.dtype]:
    """Load the transformer, put on what is trained, and go to where the run is."""
    job = session.job
    spec = job.spec
    device = session.device
    dtype = components.DTYPES[spec.training.mixed_precision]
    frozen_dtype = dtype if spec.lora is not None else torch.float32
    transformer = components.load_transformer(job.model_folder, frozen_dtype)
    trained = make_trainable(transformer, spec)
    if spec.training.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    if spec.training.compile:
        transformer.compile_repeated_blocks()
    transformer.to(device)
    folder = job.run / RUN_CHECKPOINTS
    if session.leads:
        checkpoint.remove_leftovers(folder)
    state = checkpoint.newest(folder, session.reporter.say)
    if state is not None:
        _put_weights(trained, state)
    optimizer = make_optimizer(trained.values(), spec, device)
    step = 0 if state is None else state.step
    schedule = make_schedule(optimizer, spec, job.total_steps, step)
    average = None
    if spec.training.ema_decay is not None:
        average = Average(trained, spec.training.ema_decay)
    if state is not None:
        checkpoint.restore_optimizer(optimizer, state.optimizer)
        if average is not None and state.average is not None:
            average.restore(state.average)
        session.reporter.say(f"goes on after step {step}")
    transformer.train()
    transformer, optimizer = session.accelerator.prepare(transformer, optimizer)
    scaler = session.accelerator.scaler
    if scaler is not None and state is not None and state.scaler:
        scaler.load_state_dict(dict(state.scaler))
    scheduler = components.load_scheduler(job.model_folder)
    model = Model(
        transformer=transformer,
        velocity=Velocity(
            scheduler.alphas_cumprod, snr_gamma=spec.training.snr_gamma, device=device
        ),
        rotary=rotary_embedding(job.architecture, spec.data.resolution, device),
        ofs=ofs_embedding(job.architecture, device, dtype),
        dtype=dtype,
        vae=_image_encoder(session, dtype),
    )
    trainer = Trainer(
        job=job,
        accelerator=session.accelerator,
        model=model,
        trained=trained,
        optimizer=optimizer,
        schedule=schedule,
        average=average,
        step=step,
        stop_asked=session.stop.is_set,
    )
    return trainer, dtype


def _image_encoder(session: Session, dtype: torch.dtype) -> Any:
    """The encoder half of the VAE, where images get new noise at each visit."""
    spec = session.job.spec
    if spec.model.type != "i2v" or spec.training.image_noise is None:
        return None
    return components.load_vae(
        session.job.model_folder,
        dtype,
        session.device,
        tiling=spec.data.vae_tiling,
        slicing=spec.data.vae_slicing,
        decoder=False,
    )


def _loop(session: Session, trainer: Trainer, metrics: Metrics | None) -> None:
    """The steps, with a checkpoint and a validation wherever one is due."""
    job, spec = session.job, session.job.spec
    _validate(session, trainer)
    with session.reporter.phase("training", job.total_steps, trainer.step) as bar:
        loop = trainer.steps(_batches(session, trainer.step))
        for rows in _timed(loop, session.record, "train"):
            if metrics is not None:
                metrics.write(rows)
            for row in rows if spec.tracking.report_to else ():
                session.accelerator.log(
                    {key: row[key] for key in ("loss", "grad_norm", "lr")}, step=int(row["step"])
                )
            bar.advance(f"loss {rows[-1]['loss']:.4f}" if rows else "")
            stop = session.stop.is_set() and bool(rows)
            due = trainer.step % spec.checkpointing.steps == 0 or trainer.step == job.total_steps
            if due or stop:
                with session.record.phase("checkpoint"):
                    _save(session, trainer)
            if due:
                _validate(session, trainer)
    if trainer.step < job.total_steps:
        raise Stopped(f"after step {trainer.step}")


def _batches(session: Session, first_step: int) -> Iterator[Any]:
    job = session.job
    source = SampleSource(
        spec=job.spec,
        architecture=job.architecture,
        cache=session.cache,
        keys=tuple(session.encoder.keys(sample) for sample in job.samples),
        empty_caption=session.encoder.caption_key(""),
        order=SampleOrder(job.spec.training.seed, len(job.samples)),
        timesteps=job.architecture.scheduler.num_train_timesteps,
    )
    numbers = list(
        batch_numbers(
            first_step=first_step,
            last_step=job.total_steps,
            global_batch=job.spec.global_batch,
            batch=job.spec.training.batch_size,
            rank=session.accelerator.process_index,
            world_size=job.world_size,
        )
    )
    return iter(loader(source, numbers))


def _save(session: Session, trainer: Trainer) -> None:
    if session.leads:
        scaler = session.accelerator.scaler
        state = checkpoint.State(
            step=trainer.step,
            weights={name: parameter.data for name, parameter in trainer.trained.items()},
            optimizer=trainer.optimizer.state_dict(),
            average=trainer.average.tensors if trainer.average is not None else None,
            scaler=scaler.state_dict() if scaler is not None else {},
        )
        folder = session.job.run / RUN_CHECKPOINTS
        checkpoint.save(folder, state, limit=session.job.spec.checkpointing.limit)
    session.accelerator.wait_for_everyone()


def _validate(session: Session, trainer: Trainer) -> None:
    """Make the samples of this step, if it has any and they are not there yet."""
    job = session.job
    validation = job.spec.validation
    if validation is None or not trainer.step or trainer.step % validation.steps:
        return
    folder = job.run / RUN_SAMPLES
    wanted = not preview.have_samples(folder, trainer.step, len(validation.prompts))
    if session.leads and wanted:
        with session.record.phase("validation"), _averaged(trainer):
            vae = components.load_vae(
                job.model_folder,
                trainer.model.dtype,
                session.device,
                tiling=job.spec.data.vae_tiling,
                slicing=job.spec.data.vae_slicing,
                decoder=True,
            )
            made = preview.make_samples(
                folder,
                trainer.step,
                job.spec,
                transformer=session.accelerator.unwrap_model(trainer.model.transformer),
                vae=vae,
                scheduler=components.load_scheduler(job.model_folder),
                prompts=[
                    session.cache.read(session.encoder.caption_key(prompt))
                    for prompt in validation.prompts
                ],
                no_prompt=session.cache.read(session.encoder.caption_key("")),
                images=[job.bundle / image for image in validation.images],
            )
            del vae
        components.free(session.device)
        for path in made:
            session.reporter.say(f"sample {path}")
    session.accelerator.wait_for_everyone()


def _export(session: Session, trainer: Trainer, dtype: torch.dtype) -> dict[str, Any]:
    """Write the result and what the record says of it."""
    job = session.job
    rows = read_metrics(job.run / RUN_METRICS)
    card = model_card(job, rows)
    transformer = session.accelerator.unwrap_model(trainer.model.transformer)
    with _averaged(trainer):
        if job.spec.lora is not None:
            folder = export_adapter(job.run, transformer, card)
        else:
            folder = export_transformer(job.run, transformer, dtype, card)
    session.reporter.say(f"{folder.name} {folder}")
    return {
        "result": folder.name,
        "digests": result_digests(folder, job.run),
        "steps": job.total_steps,
        "final_loss": rows[-1]["loss"] if rows else None,
    }


def _averaged(trainer: Trainer) -> Any:
    return trainer.average.in_place() if trainer.average is not None else nullcontext()


def _put_weights(trained: Any, state: checkpoint.State) -> None:
    if set(trained) != set(state.weights):
        raise UserError("the checkpoint is of another adapter: begin anew with --fresh")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(state.weights[name])


def _timed(steps: Iterator[T], record: Record, phase: str) -> Iterator[T]:
    """The same items; the time that each takes to come counts to a phase."""
    while True:
        with record.phase(phase):
            try:
                item = next(steps)
            except StopIteration:
                return
        yield item


def _share(items: Sequence[T], accelerator: Any) -> Sequence[T]:
    """Every n-th item, for this process of n."""
    return items[accelerator.process_index :: accelerator.num_processes]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {os.cpu_count()} cores"
