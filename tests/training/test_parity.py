"""What a training step hands to the transformer is what diffusers' pipeline hands to it.

Both are run as they are, on the same clip, caption, noise and timestep, with the transformer's
arguments recorded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel, DiffusionPipeline
from PIL import Image
from torch import Tensor

from cvbundle.bundle.bundle import Bundle
from cvbundle.dataset.decode import decode
from cvbundle.dataset.manifest import Sample
from cvbundle.spec.schema import Resolution
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.job import Job, read_job
from cvbundle.training.randomness import Purpose, SampleOrder, normal, stream
from tests.training.conftest import CompileModel, DemoOf, Train

_TRAINED = "9x64x96"
_SIZES = {
    "cogvideox-2b": (_TRAINED, "13x96x64", "5x48x128"),
    "cogvideox-5b": (_TRAINED, "13x96x64", "5x48x128"),
    # Its learned positions are for one size.
    "cogvideox-5b-i2v": (_TRAINED,),
    # Not larger than the table of rotary positions; with 13 frames nothing is padded.
    "cogvideox1.5-5b": (_TRAINED, "13x48x64", "17x64x80"),
    "cogvideox1.5-5b-i2v": (_TRAINED, "13x48x64", "17x64x80"),
}
_ALLOW = '["frames-8n-plus-1","resolution-5b","resolution-untrained","clip-upscaled","clip-aspect"]'


class _One(CogVideoXDDIMScheduler):
    """The schedule of the model, sampled at a single timestep."""

    only = 0

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Sample at `only`, whatever the number of steps is."""
        self.num_inference_steps = 1
        self.timesteps = torch.tensor([self.only])


@contextmanager
def _recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The arguments of each call of a transformer while the block runs."""
    calls: list[dict[str, Any]] = []
    forward = CogVideoXTransformer3DModel.forward

    def record(self: Any, **arguments: Any) -> Any:
        calls.append(arguments)
        return forward(self, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CogVideoXTransformer3DModel, "forward", record)
        yield calls


def _clip_latents(job: Job, sample: Sample, number: int, pipeline: Any) -> tuple[Tensor, Tensor]:
    """The clip's latents and its noise, made of the pipeline's own parts."""
    size = job.spec.data.resolution
    pixels = decode((job.data_root / sample.clip).read_bytes(), sample, size.height, size.width)
    video = pipeline.video_processor.preprocess_video(
        [Image.fromarray(frame) for frame in pixels], height=size.height, width=size.width
    )
    pipeline.vae.enable_tiling()
    with torch.no_grad():
        posterior = pipeline.vae.encode(video).latent_dist
    shape = tuple(posterior.mean.shape[1:])
    draw = torch.from_numpy(normal(job.spec.training.seed, Purpose.POSTERIOR, number, shape))
    latents = (posterior.mean + posterior.std * draw[None]).transpose(1, 2)
    latents = latents * pipeline.vae_scaling_factor_image
    patch = pipeline.transformer.config.patch_size_t or 1
    added = (patch - latents.shape[1] % patch) % patch
    latents = torch.cat([latents[:, :1]] * added + [latents], dim=1)
    noise = torch.from_numpy(
        normal(job.spec.training.seed, Purpose.NOISE, number, tuple(latents.shape))
    )
    return latents, noise


def _first_frame(job: Job, sample: Sample) -> Image.Image:
    size: Resolution = job.spec.data.resolution
    pixels = decode((job.data_root / sample.clip).read_bytes(), sample, size.height, size.width)
    return Image.fromarray(np.ascontiguousarray(pixels[0]))


def _given_by_the_pipeline(
    job: Job, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the transformer is given where the pipeline denoises the first sample of the run."""
    seed, number = job.spec.training.seed, 0
    sample = job.samples[SampleOrder(seed, len(job.samples)).row(number)]
    timestep = int(stream(seed, Purpose.TIMESTEP, number).integers(1000))
    pipeline = DiffusionPipeline.from_pretrained(model_folder)
    pipeline.set_progress_bar_config(disable=True)
    scheduler: Any = _One
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    _One.only = timestep
    latents, noise = _clip_latents(job, sample, number, pipeline)
    options: dict[str, Any] = {}
    if job.spec.model.type == "i2v":
        options["image"] = _first_frame(job, sample)
    size = job.spec.data.resolution
    shape = (1, latents.shape[2], 1, *latents.shape[3:])
    draw = torch.from_numpy(normal(seed, Purpose.IMAGE_POSTERIOR, number, shape))
    with _recorded(monkeypatch) as calls, monkeypatch.context() as patch:
        # It draws the image's latents from a generator, with a history.
        patch.setattr("diffusers.models.autoencoders.vae.randn_tensor", lambda *_, **__: draw)
        pipeline(
            prompt=sample.caption,
            latents=pipeline.scheduler.add_noise(latents, noise, torch.tensor([timestep])),
            height=size.height,
            width=size.width,
            num_frames=size.frames,
            num_inference_steps=1,
            guidance_scale=1.0,
            output_type="latent",
            **options,
        )
    (call,) = calls
    return call


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "size"), [(model, size) for model in MODELS for size in _SIZES[model]]
)
def test_a_step_hands_over_what_the_pipeline_does(
    model: str,
    size: str,
    demo_of: DemoOf,
    compile_model: CompileModel,
    train_here: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The pipeline puts no noise on the image: as good as none here.
    noise = ['training.image_noise={"mean": -200, "std": 0}'] if model.endswith("i2v") else []
    bundle = compile_model(
        model,
        "lora",
        f"data.resolution={size}",
        f"allow={_ALLOW}",
        "training.steps=1",
        "training.batch_size=1",
        "lr_scheduler.warmup_steps=0",
        "checkpointing.steps=1",
        "validation.steps=5",
        *noise,
    )
    with _recorded(monkeypatch) as calls:
        train_here(bundle)
    # Before the step comes the evaluation of the weights as they are.
    trained = calls[-1]
    job = read_job(Bundle(bundle), bundle, "cpu", 1)
    wanted = _given_by_the_pipeline(job, demo_of(model, "lora") / "model", monkeypatch)
    channels = job.architecture.transformer.out_channels
    given = trained["hidden_states"]
    assert given.shape == wanted["hidden_states"].shape
    # The scheduler takes 1 - alpha in fp32, ours in fp64.
    assert torch.allclose(
        given[:, :, :channels], wanted["hidden_states"][:, :, :channels], rtol=1e-5, atol=2e-5
    )
    assert torch.equal(given[:, :, channels:], wanted["hidden_states"][:, :, channels:])
    assert torch.equal(trained["encoder_hidden_states"], wanted["encoder_hidden_states"])
    assert torch.equal(trained["timestep"], wanted["timestep"])
    _same(trained["ofs"], wanted.get("ofs"))
    for ours, theirs in zip(
        trained["image_rotary_emb"] or (), wanted["image_rotary_emb"] or (), strict=True
    ):
        assert torch.equal(ours, theirs)


def _same(ours: Tensor | None, theirs: Tensor | None) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert torch.equal(ours, theirs)
