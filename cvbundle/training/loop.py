"""The optimizer steps of a run."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING

import torch
from attrs import define, frozen
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cvbundle.bundle.run import Row
from cvbundle.problems import UserError
from cvbundle.training.checkpoint import State, optimizer_state
from cvbundle.training.job import Job
from cvbundle.training.objective import (
    Rotary,
    Velocity,
    drawn_latents,
    place_image,
    predict,
    scale_image_latents,
)
from cvbundle.training.processes import Processes
from cvbundle.training.randomness import Purpose, torch_seed
from cvbundle.training.samples import Batch
from cvbundle.training.sharding import whole
from cvbundle.training.upcoming import Ready, Upcoming
from cvbundle.training.weights import Average

if TYPE_CHECKING:
    from cvbundle.training.models import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

_HELD = 10
"""Steps whose numbers are kept on the device before they are read: reading waits for the device."""


@frozen(kw_only=True)
class Model:
    """The transformer in training, and the constants that it is called with."""

    transformer: "CogVideoXTransformer3DModel"
    wrapped: nn.Module
    """The transformer, in DDP where several processes have a whole one each."""
    velocity: Velocity
    rotary: Rotary | None
    ofs: Tensor | None
    dtype: torch.dtype
    """Of the transformer's inputs."""
    vae: "AutoencoderKLCogVideoX | None" = None
    """The encoder half, where noise goes on the conditioning image."""


@define(kw_only=True)
class Trainer:
    """Trained weights with everything that changes with them."""

    job: Job
    processes: Processes
    model: Model
    trained: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    average: Average | None
    scaler: torch.amp.GradScaler | None
    """Of the loss, in fp16."""
    step: int
    """Optimizer steps done."""
    stopping: bool = False
    """Whether the step that was done is the last one of this attempt."""

    def steps(
        self, batches: Iterator[Batch], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[list[Row]]:
        """Train to the end or until asked to stop; yields after every step.

        All processes must end with the same step, so `stop` has one answer for all of them.

        Yields the metrics that have been read from the device: mostly none, those of several steps
        every few steps and where a checkpoint is due.
        """
        spec = self.job.spec
        held: list[tuple[int, float, Tensor, Tensor]] = []
        upcoming = Upcoming(batches, self.processes.device, self.image)
        with closing(upcoming):
            while self.step < self.job.total_steps:
                rate = float(self.schedule.get_last_lr()[0])
                loss, norm = self._step(upcoming)
                self.step += 1
                held.append((self.step, rate, loss, norm))
                self.stopping = stop()
                due = self.step % spec.checkpointing.steps == 0 or self.step == self.job.total_steps
                if due or self.stopping or len(held) >= _HELD:
                    rows = self._rows(held)
                    held = []
                    yield rows
                else:
                    yield []
                if self.stopping:
                    return

    def state(self) -> State:
        """What a checkpoint saves: the tensors themselves, which the next step changes."""
        moments, settings = optimizer_state(self.optimizer)
        return State(
            step=self.step,
            weights=self.trained,
            moments=moments,
            settings=settings,
            average=None if self.average is None else self.average.tensors,
            scaler={} if self.scaler is None else self.scaler.state_dict(),
        )

    def _step(self, upcoming: Upcoming) -> tuple[Tensor, Tensor]:
        """One optimizer step over this process's part of the global batch."""
        micro_steps = self.job.accumulation
        losses = []
        for micro in range(micro_steps):
            ready = upcoming.take()
            with self._exchange(last=micro == micro_steps - 1):
                loss = self._loss(ready, micro)
                self._backward(loss if micro_steps == 1 else loss / micro_steps)
            upcoming.begin()
            losses.append(loss.detach())
        norm = self._clip()
        self._update()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()
        loss = losses[0] if micro_steps == 1 else torch.stack(losses).mean()
        return loss, norm.detach()

    def _exchange(self, *, last: bool) -> AbstractContextManager[None]:
        """Whether the backward in the block sums gradients over the processes.

        Whole models do it once a step. Of a sharded one each process keeps only its share of the
        sums, and without them the whole gradients would wait for the step's end, in fp32.
        """
        model = self.model.wrapped
        if last or not isinstance(model, DistributedDataParallel):
            return nullcontext()
        return model.no_sync()

    def _backward(self, loss: Tensor) -> None:
        """Add to the gradients, which fp16 wants scaled up so that small ones are not lost."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _clip(self) -> Tensor:
        """The norm of all gradients, as it was before they were cut to the limit."""
        limit = self.job.spec.training.max_grad_norm
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        largest = float("inf") if limit is None else limit
        return whole(nn.utils.clip_grad_norm_(list(self.trained.values()), largest))

    def _update(self) -> None:
        """Change the weights; in fp16 only if no gradient has overflowed."""
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _loss(self, ready: Ready, micro: int) -> Tensor:
        batch, model, spec = ready.batch, self.model, self.job.spec
        if spec.lora is not None and spec.lora.dropout > 0:
            batches = (self.step * self.job.accumulation + micro) * self.processes.count
            number = batches + self.processes.rank
            torch.manual_seed(torch_seed(spec.training.seed, Purpose.MODULE_DROPOUT, number))
        velocity = self.predict(batch, model.wrapped, ready.image)
        return model.velocity.loss(velocity, batch.latents, batch.noise, batch.timesteps)

    def predict(self, batch: Batch, transformer: nn.Module, image: Tensor | None) -> Tensor:
        """A transformer's velocity [B, F, C, H, W] for a batch and its image."""
        model = self.model
        noisy = model.velocity.noisy(batch.latents, batch.noise, batch.timesteps)
        return predict(
            transformer,
            noisy.to(model.dtype),
            batch.prompt.to(model.dtype),
            batch.timesteps,
            image=image,
            rotary=model.rotary,
            ofs=model.ofs,
        )

    def image(self, batch: Batch) -> Tensor | None:
        """The conditioning image's latents in place, [B, F, C, H, W], in the inputs' type."""
        if batch.image is None or batch.image_kept is None:
            return None
        image = batch.image
        if batch.image_draw is not None:
            image = self._encoded(image, batch.image_draw, batch.latents.shape[1])
        return (image * batch.image_kept.view(-1, 1, 1, 1, 1)).to(self.model.dtype)

    @torch.no_grad()
    def _encoded(self, pixels: Tensor, draw: Tensor, frames: int) -> Tensor:
        """Latents of images that have noise on them, which can't come from the cache."""
        vae = self.model.vae
        assert vae is not None
        images = pixels[:, :, None].to(vae.dtype).split(1)
        moments = torch.cat([vae.encode(image).latent_dist.parameters for image in images])
        scaled = scale_image_latents(drawn_latents(moments, draw), self.job.architecture)
        return place_image(scaled, frames)

    def _rows(self, held: list[tuple[int, float, Tensor, Tensor]]) -> list[Row]:
        """Read the numbers of some steps from the device, averaged over processes."""
        losses = self.processes.mean(torch.stack([loss for _, _, loss, _ in held]))
        norms = torch.stack([norm for *_, norm in held])
        # One read: each waits for the device.
        numbers = zip(held, *torch.stack([losses, norms]).tolist(), strict=True)
        return [self._row(step, rate, loss, norm) for (step, rate, *_), loss, norm in numbers]

    def _row(self, step: int, rate: float, loss: float, norm: float) -> Row:
        """A step as `metrics.jsonl` has it.

        Raises:
            UserError: the weights are broken; what was saved before is not.
        """
        # In fp16 a step whose gradients overflow is left out, and the next one is scaled less.
        skipped = self.scaler is not None and not math.isfinite(norm)
        if not math.isfinite(loss) or (not math.isfinite(norm) and not skipped):
            raise UserError(
                f"the loss at step {step} is {loss} and the norm of its gradients {norm}: "
                "lower training.learning_rate, or set training.max_grad_norm"
            )
        return {
            "step": step,
            "epoch": round(step * self.job.spec.global_batch / len(self.job.samples), 6),
            "loss": loss,
            "grad_norm": None if skipped else norm,
            "lr": rate,
        }
