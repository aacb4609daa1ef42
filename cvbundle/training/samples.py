"""The samples of a run: latents, noise, timestep and caption of each."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from attrs import fields_dict, frozen
from torch import Tensor

from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.training.cache import EncodingCache
from cvbundle.training.encode import Encoder, SampleKeys
from cvbundle.training.held import Encodings, HeldEncodings, room_for_encodings
from cvbundle.training.job import Job
from cvbundle.training.objective import (
    drawn_latents,
    pad_in_front,
    place_image,
    scale_image_latents,
    scale_latents,
)
from cvbundle.training.randomness import Purpose, SampleOrder, normal, stream


@frozen(kw_only=True)
class Batch:
    """What a step needs of its samples; B samples, F latent frames with padding, C channels."""

    latents: Tensor
    """Scaled, [B, F, C, H, W], fp32."""
    noise: Tensor
    """The same shape."""
    timesteps: Tensor
    """[B], int64."""
    prompt: Tensor
    """Caption embeddings [B, length, dim], in the encoder's type."""
    image: Tensor | None
    """Image latents in place [B, F, C, H, W], or noisy pixels [B, 3, H, W] around -1..1; fp32."""
    image_draw: Tensor | None
    """With noisy pixels, what to draw their latents with, [B, C, 1, H, W]: standard normal."""
    image_kept: Tensor | None
    """1 where the image is shown, 0 where it is dropped, [B]."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of its tensors."""
        found = (getattr(self, name) for name in fields_dict(Batch))
        return tuple(tensor for tensor in found if tensor is not None)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; copies from pinned memory don't wait, and others do."""
        if device.type == "cpu":
            return self
        return self._each(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        def changed(tensor: Tensor | None) -> Any:
            return None if tensor is None else change(tensor)

        return Batch(**{name: changed(getattr(self, name)) for name in fields_dict(Batch)})


@frozen(kw_only=True)
class SampleSource:
    """The n-th sample of a run, for n without end: a function of the seed and n alone."""

    spec: Spec
    architecture: Architecture
    cache: Encodings
    keys: tuple[SampleKeys, ...]
    empty_caption: str
    """Key of the embedding of no caption."""
    order: SampleOrder
    timesteps: int
    """Timesteps of the noise schedule."""

    def __getitem__(self, number: int) -> Batch:
        """The sample with this number, as a batch of one."""
        training, seed = self.spec.training, self.spec.training.seed
        row = self.order.row(number)
        keys = self.keys[row]
        drawn = number if training.latents == "resample" else row
        latents = self._latents(keys.clip, Purpose.POSTERIOR, drawn)
        latents = pad_in_front(scale_latents(latents, self.architecture), self.architecture)
        noise = torch.from_numpy(normal(seed, Purpose.NOISE, number, tuple(latents.shape)))
        image, draw, kept = self._image(keys, number, drawn, tuple(latents.shape))
        return Batch(
            latents=latents,
            noise=noise,
            timesteps=torch.tensor([self._timestep(number)]),
            prompt=self.cache.read(self._caption(keys, number))[None],
            image=image,
            image_draw=draw,
            image_kept=kept,
        )

    def fixed(self, row: int, timestep: int) -> Batch:
        """A row of the dataset at a timestep, always with the same noise: to evaluate on.

        All latents are the mean of the VAE's posterior, and there is no noise on the image.
        """
        seed, keys = self.spec.training.seed, self.keys[row]
        mean = self.cache.read(keys.clip).to(torch.float32).chunk(2)[0].transpose(0, 1)[None]
        latents = pad_in_front(scale_latents(mean, self.architecture), self.architecture)
        number = row * self.timesteps + timestep
        noise = normal(seed, Purpose.EVALUATION, number, tuple(latents.shape))
        image = draw = None
        if keys.image is not None:
            image = self._clean_image(keys.image, latents.shape[1])
            if self.spec.training.image_noise is not None:
                draw = torch.zeros_like(latents[:, :1]).transpose(1, 2)
        return Batch(
            latents=latents,
            noise=torch.from_numpy(noise),
            timesteps=torch.tensor([timestep]),
            prompt=self.cache.read(keys.caption)[None],
            image=image,
            image_draw=draw,
            image_kept=None if image is None else torch.ones(1),
        )

    def _clean_image(self, key: str, frames: int) -> Tensor:
        if self.spec.training.image_noise is not None:
            return _pixels(self.cache.read(key))[None]
        mean = self.cache.read(key).to(torch.float32).chunk(2)[0].transpose(0, 1)[None]
        return place_image(scale_image_latents(mean, self.architecture), frames)

    def _latents(self, key: str, purpose: Purpose, number: int) -> Tensor:
        """A draw from the VAE's posterior, [1, F, C, H, W], fp32, not yet scaled."""
        moments = self.cache.read(key)[None]
        batch, channels, *size = moments.shape
        shape = (batch, channels // 2, *size)
        draw = torch.from_numpy(normal(self.spec.training.seed, purpose, number, shape))
        return drawn_latents(moments, draw)

    def _timestep(self, number: int) -> int:
        training = self.spec.training
        random = stream(training.seed, Purpose.TIMESTEP, number)
        if training.timestep_sampling == "logit_normal":
            fraction = 1 / (1 + float(torch.exp(-torch.tensor(random.standard_normal()))))
            return min(self.timesteps - 1, int(fraction * self.timesteps))
        return int(random.integers(self.timesteps))

    def _caption(self, keys: SampleKeys, number: int) -> str:
        share = self.spec.data.caption_dropout
        dropped = _happens(self.spec, Purpose.CAPTION_DROPOUT, number, share)
        return self.empty_caption if dropped else keys.caption

    def _image(
        self, keys: SampleKeys, number: int, drawn: int, shape: tuple[int, ...]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The image, its draw and whether it stays, for latents of a shape [1, F, C, H, W]."""
        if keys.image is None:
            return None, None, None
        _, frames, *latent = shape
        training = self.spec.training
        dropped = _happens(self.spec, Purpose.IMAGE_DROPOUT, number, training.image_dropout)
        kept = torch.tensor([0.0 if dropped else 1.0])
        if training.image_noise is None:
            latents = self._latents(keys.image, Purpose.IMAGE_POSTERIOR, drawn)
            return place_image(scale_image_latents(latents, self.architecture), frames), None, kept
        pixels = _pixels(self.cache.read(keys.image))
        level = training.image_noise
        normal_level = stream(training.seed, Purpose.IMAGE_NOISE_LEVEL, number).standard_normal()
        sigma = float(torch.exp(torch.tensor(level.mean + level.std * normal_level)))
        noise = normal(training.seed, Purpose.IMAGE_NOISE, number, tuple(pixels.shape))
        channels, *size = latent
        draw = normal(training.seed, Purpose.IMAGE_POSTERIOR, number, (1, channels, 1, *size))
        noisy = (pixels + sigma * torch.from_numpy(noise))[None]
        return noisy, torch.from_numpy(draw), kept


def sample_source(job: Job, cache: EncodingCache, encoder: Encoder) -> SampleSource:
    """The samples of a job, whose encodings are in the cache."""
    processes = max(1, job.world_size // job.spec.launch.num_machines)
    return SampleSource(
        spec=job.spec,
        architecture=job.architecture,
        cache=HeldEncodings(cache, room_for_encodings(processes)),
        keys=tuple(encoder.keys(sample) for sample in job.samples),
        empty_caption=encoder.caption_key(""),
        order=SampleOrder(job.spec.training.seed, len(job.samples)),
        timesteps=job.architecture.scheduler.num_train_timesteps,
    )


def _pixels(image: Tensor) -> Tensor:
    """An image of bytes as -1..1."""
    return image.to(torch.float32) / 255 * 2 - 1


def _happens(spec: Spec, purpose: Purpose, number: int, share: float) -> bool:
    return share > 0 and float(stream(spec.training.seed, purpose, number).random()) < share


def joined(samples: Sequence[Batch]) -> Batch:
    """Several batches as one."""

    def together(tensors: list[Tensor | None]) -> Any:
        return None if tensors[0] is None else torch.cat([t for t in tensors if t is not None])

    return Batch(
        **{name: together([getattr(s, name) for s in samples]) for name in fields_dict(Batch)}
    )
