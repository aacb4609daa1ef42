"""Validation: sample videos, and a loss by which two steps can be compared.

The loss of training jumps with the noise and the timestep of each sample. The evaluation takes the
same few samples, noise and timesteps every time, so its curve says whether the model learns.
Nothing here draws from a generator that training uses, so validating changes no step.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypedDict

import torch

from cvbundle.bundle.layout import RUN_EVALUATION, RUN_SAMPLES
from cvbundle.training import components, preview
from cvbundle.training.device import free
from cvbundle.training.encode import Encoder
from cvbundle.training.loop import Trainer
from cvbundle.training.metrics import Metrics
from cvbundle.training.outputs import Outputs
from cvbundle.training.samples import SampleSource

EVALUATED = 4
"""Samples of the dataset, its first, that the evaluation looks at."""

QUANTILES = tuple(n / 10 for n in range(1, 10))
"""Of the timesteps of the noise schedule."""


def averaged(trainer: Trainer) -> AbstractContextManager[None]:
    """The weights that count: the moving average's, where there is one."""
    return trainer.average.in_place() if trainer.average is not None else nullcontext()


def validate(trainer: Trainer, source: SampleSource, encoder: Encoder, outputs: Outputs) -> None:
    """Evaluate and sample, if this step is one for it and that has not been done yet."""
    validation = trainer.job.spec.validation
    if validation is None or trainer.step % validation.steps:
        return
    with outputs.record.phase("validation"), averaged(trainer):
        _evaluate(trainer, source, outputs)
        if trainer.step:
            _sample(trainer, encoder, outputs)


def _evaluate(trainer: Trainer, source: SampleSource, outputs: Outputs) -> None:
    path, processes = trainer.job.run / RUN_EVALUATION, trainer.processes
    metrics = Metrics(path, done=trainer.step) if processes.leads else None
    if processes.any(metrics is not None and trainer.step not in metrics.steps):
        losses = evaluation_losses(trainer, source)
        if metrics is not None:
            row = evaluation_row(trainer.step, losses, source.timesteps)
            metrics.write([row])
            metrics.sync()
            points = {f"evaluation/{name}": loss for name, loss in row["losses"].items()}
            outputs.trackers.log({**points, "evaluation/loss": row["loss"]}, step=trainer.step)
            outputs.reporter.print(f"evaluation after step {trainer.step}: loss {row['loss']:.4f}")
    if metrics is not None:
        metrics.close()


class Evaluation(TypedDict):
    """A validation, as a line of `evaluation.jsonl` has it."""

    step: int
    loss: float
    losses: dict[str, float]
    """By timestep, t0100 and so on."""


def evaluation_row(step: int, losses: list[list[float]], timesteps: int) -> Evaluation:
    """The mean loss over the samples by timestep, and over all."""
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
def evaluation_losses(trainer: Trainer, source: SampleSource) -> list[list[float]]:
    """The plain loss of each evaluated sample at each quantile; whole models share the samples."""
    transformer = trainer.model.transformer
    was_training = transformer.training
    transformer.eval()
    rows = list(range(min(EVALUATED, len(trainer.job.samples))))
    mine = []
    for row in _shared(trainer, rows):
        losses = []
        image = None
        for timestep in evaluated_timesteps(source.timesteps):
            batch = source.fixed(row, timestep).to(trainer.processes.device)
            # The same at every timestep.
            image = trainer.image(batch) if image is None else image
            velocity = trainer.predict(batch, transformer, image)
            error = trainer.model.velocity.error(
                velocity, batch.latents, batch.noise, batch.timesteps
            )
            losses.append(error.mean())
        mine.append((row, torch.stack(losses).tolist()))
    transformer.train(was_training)
    everyone = trainer.processes.gather(mine)
    return list(dict(sorted(itertools.chain(*everyone))).values())


def _shared(trainer: Trainer, items: Sequence[int]) -> Sequence[int]:
    """This process's share; a sharded model computes only if all processes call it together."""
    return items if trainer.job.spec.launch.kind.shards else trainer.processes.share(items)


def _sample(trainer: Trainer, encoder: Encoder, outputs: Outputs) -> None:
    """Make the videos that are missing; the processes share the prompts."""
    job, processes = trainer.job, trainer.processes
    validation = job.spec.validation
    assert validation is not None
    folder = job.run / RUN_SAMPLES
    numbers = range(len(validation.prompts))
    missing = [n for n in numbers if not preview.has_sample(folder, trainer.step, n)]
    # All look before one of them writes.
    processes.wait()
    writes = processes.leads or not job.spec.launch.kind.shards
    with processes.together():
        if mine := _shared(trainer, missing):
            sampler = _sampler(trainer, encoder)
            for number in mine:
                prompt = validation.prompts[number]
                seed = preview.sample_seed(validation.seed, number)
                image = job.bundle.folder / validation.images[number] if validation.images else None
                frames = sampler.frames(encoder.embedding(prompt), image, seed)
                if writes:
                    preview.write_sample(
                        preview.sample_path(folder, trainer.step, number),
                        frames,
                        fps=validation.fps,
                        prompt=prompt,
                        seed=seed,
                        step=trainer.step,
                    )
            del sampler
            free(processes.device)
    if processes.leads:
        for number in missing:
            path = preview.sample_path(folder, trainer.step, number)
            outputs.reporter.print(f"sample {path}")
            outputs.trackers.show(path, validation.prompts[number], trainer.step)


def _sampler(trainer: Trainer, encoder: Encoder) -> preview.Sampler:
    job, validation = trainer.job, trainer.job.spec.validation
    assert validation is not None
    return preview.Sampler(
        transformer=trainer.model.transformer,
        vae=components.load_vae(
            job.model_folder,
            trainer.model.dtype,
            trainer.processes.device,
            tiling=job.spec.data.vae_tiling,
            slicing=job.spec.data.vae_slicing,
            decoder=True,
        ),
        scheduler=components.load_scheduler(job.model_folder),
        no_prompt=encoder.embedding(""),
        resolution=job.spec.data.resolution,
        guidance_scale=validation.guidance_scale,
        num_inference_steps=validation.num_inference_steps,
    )
