"""What a run shows of itself on the way: sample videos, and a loss that compares two steps.

The loss of training jumps with the noise and the timestep of each sample. The evaluation takes the
same few samples, noise and timesteps every time, so its curve says whether the model learns.
Nothing here draws from a generator that training uses: training goes on as if nothing had been.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from cvbundle.bundle.layout import RUN_EVALUATION, RUN_SAMPLES
from cvbundle.training import components, preview
from cvbundle.training.device import free
from cvbundle.training.loop import Trainer
from cvbundle.training.metrics import Metrics
from cvbundle.training.samples import SampleSource
from cvbundle.training.session import Session

EVALUATED = 4
"""Samples of the dataset, its first, that the evaluation looks at."""

QUANTILES = tuple(n / 10 for n in range(1, 10))
"""Of the timesteps of the noise schedule."""


def averaged(trainer: Trainer) -> AbstractContextManager[None]:
    """The weights that count: the moving average's, where there is one."""
    return trainer.average.in_place() if trainer.average is not None else nullcontext()


def validate(session: Session, trainer: Trainer, source: SampleSource) -> None:
    """Evaluate and sample, if this step is one for it and that has not been done yet."""
    validation = session.job.spec.validation
    if validation is None or trainer.step % validation.steps:
        return
    with session.record.phase("validation"), averaged(trainer):
        _evaluate(session, trainer, source)
        if trainer.step:
            _sample(session, trainer)


def _evaluate(session: Session, trainer: Trainer, source: SampleSource) -> None:
    path = session.job.run / RUN_EVALUATION
    metrics = Metrics(path, done=trainer.step) if session.leads else None
    if session.any(metrics is not None and trainer.step not in metrics.steps):
        losses = evaluation_losses(session, trainer, source)
        if metrics is not None:
            row = evaluation_row(trainer.step, losses, source.timesteps)
            metrics.write([row])
            metrics.sync()
            if session.job.spec.tracking.report_to:
                points = {f"evaluation/{name}": loss for name, loss in row["losses"].items()}
                points["evaluation/loss"] = row["loss"]
                session.accelerator.log(points, step=trainer.step)
            session.reporter.say(f"evaluation after step {trainer.step}: loss {row['loss']:.4f}")
    if metrics is not None:
        metrics.close()


def evaluation_row(step: int, losses: list[list[float]], timesteps: int) -> dict[str, Any]:
    """The line of `evaluation.jsonl`: the mean loss over the samples by timestep, and over all."""
    means = [sum(column) / len(column) for column in zip(*losses, strict=True)]
    named = zip(evaluated_timesteps(timesteps), means, strict=True)
    return {
        "step": step,
        "loss": sum(means) / len(means),
        "losses": {f"t{timestep:04d}": mean for timestep, mean in named},
    }


def evaluated_timesteps(timesteps: int) -> list[int]:
    """The timesteps at the quantiles of a schedule with so many."""
    return [round(quantile * (timesteps - 1)) for quantile in QUANTILES]


@torch.no_grad()
def evaluation_losses(
    session: Session, trainer: Trainer, source: SampleSource
) -> list[list[float]]:
    """The plain loss of each evaluated sample at each quantile; whole models share the samples."""
    transformer = session.accelerator.unwrap_model(trainer.model.transformer)
    was_training = transformer.training
    transformer.eval()
    rows = list(range(min(EVALUATED, len(session.job.samples))))
    mine = []
    for row in _shared(session, rows):
        losses = []
        image = None
        for timestep in evaluated_timesteps(source.timesteps):
            batch = source.fixed(row, timestep).to(session.device)
            # The same at every timestep.
            image = trainer.image(batch) if image is None else image
            velocity = trainer.predict(batch, transformer, image)
            error = trainer.model.velocity.error(
                velocity, batch.latents, batch.noise, batch.timesteps
            )
            losses.append(error.mean())
        mine.append((row, torch.stack(losses).tolist()))
    transformer.train(was_training)
    if session.job.world_size > 1:
        from accelerate.utils import gather_object

        mine = gather_object(mine)
    return list(dict(sorted(mine)).values())


def _shared(session: Session, items: Sequence[int]) -> Sequence[int]:
    """What is left to this process: a sharded model says nothing unless all processes ask it."""
    return items if session.job.spec.launch.kind.shards else session.share(items)


def _sample(session: Session, trainer: Trainer) -> None:
    """Make the videos that are not there yet; the processes share the prompts."""
    job = session.job
    validation = job.spec.validation
    assert validation is not None
    folder = job.run / RUN_SAMPLES
    numbers = range(len(validation.prompts))
    missing = [n for n in numbers if not preview.has_sample(folder, trainer.step, n)]
    if session.job.world_size > 1:
        # All look before one of them writes.
        session.accelerator.wait_for_everyone()
    sharded = job.spec.launch.kind.shards
    with session.together():
        if mine := _shared(session, missing):
            vae = components.load_vae(
                job.model_folder,
                trainer.model.dtype,
                session.device,
                tiling=job.spec.data.vae_tiling,
                slicing=job.spec.data.vae_slicing,
                decoder=True,
            )
            sampler = preview.Sampler(
                transformer=session.accelerator.unwrap_model(trainer.model.transformer),
                vae=vae,
                scheduler=components.load_scheduler(job.model_folder),
                no_prompt=session.cache.read(session.encoder.caption_key("")),
                resolution=job.spec.data.resolution,
                guidance_scale=validation.guidance_scale,
                num_inference_steps=validation.num_inference_steps,
            )
            for number in mine:
                prompt = validation.prompts[number]
                seed = preview.sample_seed(validation.seed, number)
                frames = sampler.frames(
                    session.cache.read(session.encoder.caption_key(prompt)),
                    job.bundle.folder / validation.images[number] if validation.images else None,
                    seed,
                )
                if session.leads or not sharded:
                    preview.write_sample(
                        preview.sample_path(folder, trainer.step, number),
                        frames,
                        fps=validation.fps,
                        prompt=prompt,
                        seed=seed,
                        step=trainer.step,
                    )
            del sampler, vae
            free(session.device)
    if session.leads:
        for number in missing:
            path = preview.sample_path(folder, trainer.step, number)
            session.reporter.say(f"sample {path}")
            for tracker in session.accelerator.trackers:
                preview.show(tracker, path, validation.prompts[number], trainer.step)
