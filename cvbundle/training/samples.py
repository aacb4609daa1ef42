"""The samples of a run: latents, noise, timestep and caption of each."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from attrs import asdict, frozen
from torch import Tensor

from cvbundle.spec.schema import ImageNoise, Spec
from cvbundle.spec.tables.architecture import Architecture
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
from cvbundle.training.randomness import Purpose, SampleOrder, fill_normal, stream


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
        return tuple(tensor for tensor in self._by_name().values() if tensor is not None)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; copies from pinned memory don't wait, and others do."""
        if device.type == "cpu":
            return self
        return self._each(lambda tensor: tensor.to(device, non_blocking=tensor.is_pinned()))

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory; what is there already is not copied."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {
            name: None if tensor is None else change(tensor)
            for name, tensor in self._by_name().items()
        }
        return Batch(**changed)

    def _by_name(self) -> dict[str, Tensor | None]:
        return asdict(self, recurse=False)


@frozen(kw_only=True)
class SampleSource:
    """The samples of a run, without end; the n-th is a function of the seed and n alone."""

    spec: Spec
    architecture: Architecture
    cache: Encodings
    keys: tuple[SampleKeys, ...]
    empty_caption: str
    """Key of the embedding of no caption."""
    order: SampleOrder
    timesteps: int
    """Timesteps of the noise schedule."""

    def batch(self, numbers: Sequence[int], *, pinned: bool = False) -> Batch:
        """The samples with these numbers; what is large may be made in page-locked memory.

        Each tensor operation lets go of Python's lock and waits for it, while a step wants it too:
        so there is one for a batch, where there could be one for a sample.
        """
        rows = [self.order.row(number) for number in numbers]
        keys = [self.keys[row] for row in rows]
        drawn = numbers if self.spec.training.latents == "resample" else rows
        latents = self._latents([of.clip for of in keys], Purpose.POSTERIOR, drawn)
        latents = pad_in_front(scale_latents(latents, self.architecture), self.architecture)
        shape = tuple(latents.shape[1:])
        image, draw, kept = self._image(keys, numbers, drawn, shape)
        return Batch(
            # In order, which the posterior's are not.
            latents=torch.empty(latents.shape, pin_memory=pinned).copy_(latents),
            noise=self._normal(Purpose.NOISE, numbers, shape, pinned=pinned),
            timesteps=torch.tensor([self._timestep(number) for number in numbers]),
            prompt=self._read([self._caption(*one) for one in zip(keys, numbers, strict=True)]),
            image=image,
            image_draw=draw,
            image_kept=kept,
        )

    def fixed(self, row: int, timestep: int) -> Batch:
        """A row of the dataset at a timestep, always with the same noise: to evaluate on.

        All latents are the mean of the VAE's posterior, and there is no noise on the image.
        """
        keys = self.keys[row]
        mean = self._mean(keys.clip)
        latents = pad_in_front(scale_latents(mean, self.architecture), self.architecture)
        number = row * self.timesteps + timestep
        image = draw = None
        if keys.image is not None:
            image = self._clean_image(keys.image, latents.shape[1])
            if self.spec.training.image_noise is not None:
                draw = torch.zeros_like(latents[:, :1]).transpose(1, 2)
        return Batch(
            latents=latents,
            noise=self._normal(Purpose.EVALUATION, [number], tuple(latents.shape[1:])),
            timesteps=torch.tensor([timestep]),
            prompt=self._read([keys.caption]),
            image=image,
            image_draw=draw,
            image_kept=None if image is None else torch.ones(1),
        )

    def _clean_image(self, key: str, frames: int) -> Tensor:
        if self.spec.training.image_noise is not None:
            return _pixels(self._read([key]))
        return place_image(scale_image_latents(self._mean(key), self.architecture), frames)

    def _mean(self, key: str) -> Tensor:
        """The mean of the VAE's posterior, [1, F, C, H, W], fp32, not yet scaled."""
        return self._read([key]).to(torch.float32).chunk(2, dim=1)[0].transpose(1, 2)

    def _latents(self, keys: Sequence[str], purpose: Purpose, numbers: Sequence[int]) -> Tensor:
        """Draws from the VAE's posterior, [B, F, C, H, W], fp32, not yet scaled."""
        moments = self._read(keys)
        _, channels, *size = moments.shape
        return drawn_latents(moments, self._normal(purpose, numbers, (channels // 2, *size)))

    def _read(self, keys: Sequence[str]) -> Tensor:
        """Encodings, [B, ...]; not to be written to."""
        first, *others = map(self.cache.read, keys)
        return torch.stack([first, *others]) if others else first[None]

    def _normal(
        self,
        purpose: Purpose,
        numbers: Sequence[int],
        shape: tuple[int, ...],
        *,
        pinned: bool = False,
    ) -> Tensor:
        """Standard normal numbers, [B, *shape], fp32: of each sample what its number decides."""
        drawn = torch.empty(len(numbers), *shape, pin_memory=pinned)
        for row, number in zip(drawn.numpy(), numbers, strict=True):
            fill_normal(row, self.spec.training.seed, purpose, number)
        return drawn

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
        self,
        keys: Sequence[SampleKeys],
        numbers: Sequence[int],
        drawn: Sequence[int],
        latents: tuple[int, ...],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The images, their draws and which are kept, beside latents of a shape [F, C, H, W]."""
        images = [of.image for of in keys if of.image is not None]
        if not images:
            return None, None, None
        training = self.spec.training
        kept = torch.tensor([1.0 - self._drops_image(number) for number in numbers])
        if training.image_noise is None:
            clean = self._latents(images, Purpose.IMAGE_POSTERIOR, drawn)
            scaled = scale_image_latents(clean, self.architecture)
            return place_image(scaled, latents[0]), None, kept
        pixels = _pixels(self._read(images))
        level = torch.tensor(
            [self._noise_level(number, training.image_noise) for number in numbers]
        )
        noise = self._normal(Purpose.IMAGE_NOISE, numbers, tuple(pixels.shape[1:]))
        noisy = pixels + torch.exp(level).view(-1, 1, 1, 1) * noise
        _, channels, *size = latents
        draw = self._normal(Purpose.IMAGE_POSTERIOR, numbers, (channels, 1, *size))
        return noisy, draw, kept

    def _drops_image(self, number: int) -> bool:
        share = self.spec.training.image_dropout
        return _happens(self.spec, Purpose.IMAGE_DROPOUT, number, share)

    def _noise_level(self, number: int, level: ImageNoise) -> float:
        """The logarithm of how much noise is on an image (of the standard deviation)."""
        random = stream(self.spec.training.seed, Purpose.IMAGE_NOISE_LEVEL, number)
        return level.mean + level.std * float(random.standard_normal())


def sample_source(job: Job, encoder: Encoder) -> SampleSource:
    """The samples of a job, whose encodings are in the encoder's cache."""
    processes = max(1, job.world_size // job.spec.launch.num_machines)
    return SampleSource(
        spec=job.spec,
        architecture=job.architecture,
        cache=HeldEncodings(encoder.cache, room_for_encodings(processes)),
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
