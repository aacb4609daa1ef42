"""What a rehearsal has in place of parts that would look at a number: fake tensors have none."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from attrs import asdict, evolve
from torch import Tensor

from cvbundle.bundle.bundle import Bundle
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture, Scheduler
from cvbundle.training.encoders import Tokens
from cvbundle.training.job import Job
from cvbundle.training.models import CogVideoXDDIMScheduler
from cvbundle.training.preview import Sampler
from cvbundle.training.samples import Batch


class FakeSampler(Sampler):
    """Takes an image as it is: whether it is scaled already can't be seen in a fake tensor."""

    def pipeline(self, *, with_image: bool) -> Any:
        """diffusers' pipeline around the transformer."""
        pipeline = super().pipeline(with_image=with_image)
        pipeline.video_processor.register_to_config(do_normalize=False)
        return pipeline


def scheduler_at_its_last_timestep(config: Scheduler) -> CogVideoXDDIMScheduler:
    """The noise schedule, which treats every timestep as its last one."""
    scheduler: CogVideoXDDIMScheduler = CogVideoXDDIMScheduler(**asdict(config))
    # Any arguments, of which the pipeline looks up the names.
    step: Callable[..., Any] = scheduler.step

    @functools.wraps(step)
    def last(output: Tensor, _: int, *args: object, **kwargs: object) -> object:
        return step(output, config.num_train_timesteps - 1, *args, **kwargs)

    scheduler.step = last  # type: ignore[method-assign, assignment]
    return scheduler


class TokenCount:
    """Tokens of a caption as far as their number goes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, text: list[str], **_: object) -> Tokens:
        """As transformers' tokenizers answer."""
        return argparse.Namespace(input_ids=torch.zeros(len(text), self._length, dtype=torch.int64))


def one_process(spec: Spec, architecture: Architecture) -> Job:
    """One process of the bundle; a third batch in a step would hold no more than the second."""
    training = spec.training
    batches = min(2, training.gradient_accumulation_steps)
    one = evolve(
        spec,
        training=evolve(training, gradient_accumulation_steps=batches),
        launch=evolve(spec.launch, strategy="single", num_processes=1),
    )
    nowhere = Path("-")
    return Job(
        bundle=Bundle(nowhere),
        spec=one,
        samples=(),
        architecture=architecture,
        model_folder=nowhere,
        model_files=(),
        hub_commit=None,
        data_root=nowhere,
        run=nowhere,
        device="cpu",
        world_size=1,
    )


def blank_batch(spec: Spec, architecture: Architecture, dtype: torch.dtype) -> Batch:
    """A batch as the loader hands it over, with its prompts in `dtype`."""
    batch, size = spec.training.batch_size, spec.data.resolution
    latents = _latents(spec, architecture, batch)
    image, draw = None, None
    if spec.model.type == "i2v":
        image = torch.empty(latents.shape)
        if spec.training.image_noise is not None:
            image = torch.empty(batch, 3, size.height, size.width)
            draw = latents.new_empty(latents[:, :1].transpose(1, 2).shape)
    transformer = architecture.transformer
    prompt = (batch, transformer.max_text_seq_length, transformer.text_embed_dim)
    return Batch(
        latents=latents,
        noise=torch.empty(latents.shape),
        timesteps=torch.zeros(batch, dtype=torch.int64),
        prompt=torch.empty(prompt, dtype=dtype),
        image=image,
        image_draw=draw,
        image_kept=None if image is None else torch.empty(batch),
    )


def _latents(spec: Spec, architecture: Architecture, batch: int) -> torch.Tensor:
    size, vae = spec.data.resolution, architecture.vae
    return torch.empty(
        batch,
        architecture.padded_latent_frames(size.frames),
        vae.latent_channels,
        size.height // vae.spatial_compression_ratio,
        size.width // vae.spatial_compression_ratio,
    )
