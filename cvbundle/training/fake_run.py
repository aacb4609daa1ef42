"""A run on fake tensors of their real size, phase after phase."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from accelerate import Accelerator
from attrs import evolve, frozen
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode

from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.training import blank, components
from cvbundle.training.accelerator import default_device
from cvbundle.training.checkpoint import size_on_disk
from cvbundle.training.encoders import encode_caption, encode_pixels
from cvbundle.training.live_bytes import Kind, LiveBytes, Peak
from cvbundle.training.loop import Model, Trainer
from cvbundle.training.models import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from cvbundle.training.objective import (
    Velocity,
    keep_positions,
    ofs_embedding,
    rotary_embedding,
)
from cvbundle.training.optimizers import make_optimizer, make_schedule
from cvbundle.training.processes import Processes
from cvbundle.training.recompute import checkpoint_blocks
from cvbundle.training.saver import copied_bytes
from cvbundle.training.stand_ins import (
    FakeSampler,
    TokenCount,
    blank_batch,
    one_process,
    scheduler_at_its_last_timestep,
)
from cvbundle.training.upcoming import Upcoming
from cvbundle.training.weights import Average, make_trainable

_DEVICE = torch.device("cpu")


@frozen
class Phase:
    """The most that a device holds in a phase, in bytes, and of what."""

    name: str
    bytes: int
    of: Mapping[Kind, int]
    host: int = 0
    """Page-locked memory of the host that it takes."""
    disk: int = 0
    """What it writes."""


@frozen
class Rehearsal:
    """What a bundle's run will do."""

    phases: tuple[Phase, ...]
    step_flops: int
    """Floating point operations of one optimizer step on one device."""
    trained: int
    """Parameters that are trained."""


class FakeRun:
    """The phases of a run of one process, each with the most that the device holds in it."""

    def __init__(self, spec: Spec, architecture: Architecture, live: LiveBytes) -> None:
        self._spec = spec
        self._architecture = architecture
        self._live = live
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._phases: list[Phase] = []
        precision = spec.training.mixed_precision
        self._encoder_dtype = components.DTYPES[precision]
        # accelerate has no fp16 on a CPU; bf16 has the same size.
        self._precision = "bf16" if precision == "fp16" else precision
        self._dtype = components.DTYPES[self._precision]

    def run(self, *, whole: bool) -> Rehearsal:
        """All of them, or a step and its checkpoint alone."""
        if whole:
            self._encode_text()
            self._encode_clip()
        trainer = self._train()
        self._save(trainer)
        if whole and self._spec.validation is not None:
            self._validate(trainer)
        return Rehearsal(
            tuple(self._phases),
            self._step_flops,
            sum(parameter.numel() for parameter in trainer.trained.values()),
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[Peak]:
        """Run the block on fake tensors, and note its peak.

        Raises:
            UserError: what torch or diffusers found wrong with a shape, a type or a value.
        """
        peak = self._live.begin()
        try:
            with self._fake, self._live:
                yield peak
        except (RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"the {name.replace('_', ' ')} phase fails: {reason}") from error
        self._add(name, peak)

    def _add(self, name: str, peak: Peak) -> None:
        self._phases.append(Phase(name, peak.bytes, dict(peak.of)))

    def _save(self, trainer: Trainer) -> None:
        """A checkpoint: a device holds nothing more for it, the host a copy until it is written."""
        with self._phase("checkpoint"):
            state = trainer.state()
        host, disk = copied_bytes(state), size_on_disk(state)
        self._phases[-1] = evolve(self._phases[-1], host=host, disk=disk)

    def _encode_text(self) -> None:
        config = self._architecture.text_encoder
        encoder = blank.text_encoder_on_meta(config, self._encoder_dtype)
        length = self._architecture.transformer.max_text_seq_length
        with self._phase("encode_text"):
            self._live.name(blank.faked(encoder).parameters(), "encoder")
            encode_caption("", TokenCount(length), encoder, length)

    def _encode_clip(self) -> None:
        size = self._spec.data.resolution
        pixels = np.zeros((size.frames, size.height, size.width, 3), np.uint8)
        vae = self._vae(decoder=False)
        with self._phase("encode_clips"):
            self._live.name(blank.faked(vae).parameters(), "encoder")
            encode_pixels(pixels, vae)

    def _vae(self, *, decoder: bool) -> AutoencoderKLCogVideoX:
        vae = blank.vae_on_meta(self._architecture.vae, self._dtype)
        data = self._spec.data
        if not decoder:
            del vae.decoder
        if data.vae_tiling:
            vae.enable_tiling()
        if data.vae_slicing:
            vae.enable_slicing()
        return vae

    def _train(self) -> Trainer:
        """One step, as every step after the first is."""
        spec, architecture = self._spec, self._architecture
        with default_device(_DEVICE):
            accelerator = Accelerator(cpu=True, mixed_precision=self._precision)
        frozen_dtype = self._dtype if spec.lora is not None else torch.float32
        transformer = blank.transformer_on_meta(architecture.transformer, frozen_dtype)
        with torch.device("meta"):
            keep_positions(
                transformer, architecture, spec.data.resolution, self._dtype, torch.device("meta")
            )
        make_trainable(transformer, spec)
        # Compiled blocks are not rehearsed: the compiler decides what they keep.
        checkpoint_blocks(transformer, spec.training.gradient_checkpointing, compiled=False)
        transformer.train()
        noise_on_image = spec.model.type == "i2v" and spec.training.image_noise is not None
        vae = self._vae(decoder=False) if noise_on_image else None
        with self._phase("train"):
            trainer = self._trainer(accelerator, blank.faked(transformer), vae)
            self._take_first_step(trainer)
            step = self._step(trainer)
        self._add("step", step)
        return trainer

    def _trainer(
        self,
        accelerator: Accelerator,
        transformer: CogVideoXTransformer3DModel,
        vae: AutoencoderKLCogVideoX | None,
    ) -> Trainer:
        """What `load_trainer` makes, of weights that are not there."""
        spec, architecture = self._spec, self._architecture
        self._live.name([*transformer.parameters(), *transformer.buffers()], "weights")
        if vae is not None:
            self._live.name(blank.faked(vae).parameters(), "encoder")
        trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
        optimizer = make_optimizer(trained.values(), spec, _DEVICE)
        schedule = make_schedule(optimizer, spec, 1_000_000, 0)
        average = None
        if spec.training.ema_decay is not None:
            average = Average(trained, spec.training.ema_decay)
            self._live.name(average.tensors.values(), "optimizer")
        # Fake parameters are where they should be, and can't be moved.
        wrapped = accelerator.prepare(transformer, device_placement=[False])
        alphas = torch.ones(architecture.scheduler.num_train_timesteps, dtype=torch.float64)
        model = Model(
            transformer=transformer,
            wrapped=wrapped,
            velocity=Velocity(alphas, snr_gamma=spec.training.snr_gamma, device=_DEVICE),
            rotary=rotary_embedding(architecture, spec.data.resolution, _DEVICE),
            ofs=ofs_embedding(architecture, _DEVICE, self._dtype),
            dtype=self._dtype,
            vae=vae,
        )
        return Trainer(
            job=one_process(self._spec, self._architecture),
            processes=Processes.alone(_DEVICE),
            model=model,
            trained=trained,
            optimizer=optimizer,
            schedule=schedule,
            average=average,
            scaler=None,
            step=0,
        )

    def _step(self, trainer: Trainer) -> Peak:
        """One step of the trainer; the peak of its optimizer."""
        peaks = []

        def at_optimizer(*_: object) -> None:
            peaks.append(self._live.begin())

        trainer.optimizer.register_step_pre_hook(at_optimizer)
        for parameter in trainer.trained.values():
            parameter.register_post_accumulate_grad_hook(self._name_gradient)
        before = self._live.flops
        batches = trainer.job.accumulation
        made = (blank_batch(self._spec, self._architecture, self._dtype) for _ in range(batches))
        trainer._step(Upcoming(made, _DEVICE, trainer.image))
        counted = self._live.flops - before
        self._step_flops = counted * self._spec.training.gradient_accumulation_steps // batches
        return peaks[0]

    def _name_gradient(self, parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        self._live.name([parameter.grad], "gradients")

    def _take_first_step(self, trainer: Trainer) -> None:
        """Make the optimizer's state, which the first step does."""
        optimizer = trainer.optimizer
        for parameter in trainer.trained.values():
            parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for state in optimizer.state.values():
            tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
            self._live.name(tensors, "optimizer")

    def _validate(self, trainer: Trainer) -> None:
        """One denoising step with guidance, and the decoding of what comes out."""
        spec, transformer = self._spec, self._architecture.transformer
        assert spec.validation is not None
        size = spec.data.resolution
        image = None
        if spec.model.type == "i2v":
            image = Image.new("RGB", (size.width, size.height))
        vae = self._vae(decoder=True)
        scheduler = scheduler_at_its_last_timestep(self._architecture.scheduler)
        with self._phase("validate"):
            self._live.name(blank.faked(vae).parameters(), "encoder")
            embedding = torch.empty(
                transformer.max_text_seq_length, transformer.text_embed_dim, dtype=self._dtype
            )
            FakeSampler(
                transformer=trainer.model.transformer,
                vae=vae,
                scheduler=scheduler,
                no_prompt=embedding,
                resolution=size,
                guidance_scale=spec.validation.guidance_scale,
                num_inference_steps=1,
            ).video(embedding, image, 0, "pt")
