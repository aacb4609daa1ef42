"""What the transformer is given equals what diffusers' own pipeline builds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)

from cvbundle.spec.schema import Resolution
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.models import MODELS
from cvbundle.training import objective
from cvbundle.training.components import load_text_encoder, load_tokenizer
from cvbundle.training.encoders import encode_caption
from cvbundle.training.randomness import Purpose, normal

ARCHITECTURES: dict[str, Architecture] = {name: card.architecture for name, card in MODELS.items()}
CPU = torch.device("cpu")


def _pipeline(architecture: Architecture, kind: Any = CogVideoXPipeline) -> Any:
    """A pipeline of the real config; its weights don't matter and take no memory."""
    transformer, vae = architecture.transformer, architecture.vae
    with torch.device("meta"):
        model = CogVideoXTransformer3DModel(
            num_attention_heads=1,
            num_layers=1,
            in_channels=transformer.in_channels,
            out_channels=transformer.out_channels,
            patch_size=transformer.patch_size,
            patch_size_t=transformer.patch_size_t,
            ofs_embed_dim=transformer.ofs_embed_dim,
            sample_height=transformer.sample_height,
            sample_width=transformer.sample_width,
            sample_frames=transformer.sample_frames,
            use_rotary_positional_embeddings=transformer.use_rotary_positional_embeddings,
            use_learned_positional_embeddings=transformer.use_learned_positional_embeddings,
        )
    autoencoder = AutoencoderKLCogVideoX(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=vae.scaling_factor,
        invert_scale_latents=vae.invert_scale_latents,
    )
    scheduler = CogVideoXDDIMScheduler(
        snr_shift_scale=architecture.scheduler.snr_shift_scale,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
    return kind(
        tokenizer=None, text_encoder=None, vae=autoencoder, transformer=model, scheduler=scheduler
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", ["trained", "13x256x384", "49x480x480"])
def test_the_rotary_embedding_is_the_pipelines(name: str, size: str) -> None:
    architecture = ARCHITECTURES[name]
    card = MODELS[name]
    resolution = card.resolution if size == "trained" else Resolution.parse(size)
    assert resolution is not None
    made = objective.rotary_embedding(architecture, resolution, CPU)
    if not architecture.transformer.use_rotary_positional_embeddings:
        assert made is None
        return
    frames = architecture.padded_latent_frames(resolution.frames)
    wanted = _pipeline(architecture)._prepare_rotary_positional_embeddings(
        resolution.height, resolution.width, frames, CPU
    )
    assert made is not None
    assert torch.equal(made[0], wanted[0])
    assert torch.equal(made[1], wanted[1])


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("frames", [9, 13, 81])
def test_latents_have_as_many_frames_as_the_pipeline_makes(name: str, frames: int) -> None:
    architecture = ARCHITECTURES[name]
    latents = torch.randn(1, architecture.latent_frames(frames), 16, 4, 6)
    padded = objective.pad_in_front(latents, architecture)
    patch = architecture.transformer.patch_size_t or 1
    # What the pipeline adds, it drops from the front again (pipeline_cogvideox.py:679-687, 786).
    added = (patch - latents.shape[1] % patch) % patch
    assert padded.shape[1] == latents.shape[1] + added
    assert torch.equal(padded[:, added:], latents)
    assert all(torch.equal(padded[:, n], latents[:, 0]) for n in range(added))
    assert padded.shape[1] == architecture.padded_latent_frames(frames)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name.endswith("i2v")])
@pytest.mark.parametrize("frames", [9, 13])
def test_image_latents_are_scaled_and_placed_as_the_pipeline_does_it(
    name: str, frames: int
) -> None:
    architecture = ARCHITECTURES[name]
    pipeline = _pipeline(architecture, CogVideoXImageToVideoPipeline)
    image = torch.rand(1, 3, 32, 48) * 2 - 1
    padded = architecture.padded_latent_frames(frames)
    with torch.no_grad():
        _, wanted = pipeline.prepare_latents(
            image,
            num_frames=(padded - 1) * 4 + 1,
            height=32,
            width=48,
            dtype=torch.float32,
            device=CPU,
            generator=torch.Generator().manual_seed(7),
        )
        posterior = pipeline.vae.encode(image[:, :, None]).latent_dist
    drawn = posterior.sample(torch.Generator().manual_seed(7)).transpose(1, 2)
    scaled = objective.scale_image_latents(drawn, architecture)
    assert torch.equal(objective.place_image(scaled, padded), wanted)


def test_video_latents_are_what_decoding_undoes() -> None:
    for architecture in ARCHITECTURES.values():
        pipeline = _pipeline(architecture)
        latents = torch.randn(1, 3, 16, 4, 6)
        scaled = objective.scale_latents(latents, architecture)
        assert torch.allclose(scaled / pipeline.vae_scaling_factor_image, latents)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_loss_is_the_upstream_weighting_of_x0(name: str) -> None:
    scheduler = _pipeline(ARCHITECTURES[name]).scheduler
    velocity = objective.Velocity(scheduler.alphas_cumprod, snr_gamma=None, device=CPU)
    generator = torch.Generator().manual_seed(0)
    for step in (0, 1, 250, 500, 998, 999):
        timesteps = torch.tensor([step])
        latents, noise, said = torch.randn(3, 1, 3, 16, 4, 6, generator=generator)
        ours = velocity.loss(said, latents, noise, timesteps).double()
        alpha = scheduler.alphas_cumprod[step].double()
        noisy = alpha.sqrt() * latents.double() + (1 - alpha).sqrt() * noise.double()
        clean = alpha.sqrt() * noisy - (1 - alpha).sqrt() * said.double()
        upstream = ((clean - latents.double()).square() / (1 - alpha)).mean()
        assert ours.item() == pytest.approx(upstream.item(), rel=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_noise_and_velocity_are_the_schedulers(name: str) -> None:
    scheduler = _pipeline(ARCHITECTURES[name]).scheduler
    velocity = objective.Velocity(scheduler.alphas_cumprod, snr_gamma=None, device=CPU)
    latents, noise = torch.randn(2, 4, 3, 16, 4, 6)
    timesteps = torch.tensor([0, 10, 500, 999])
    noisy = scheduler.add_noise(latents, noise, timesteps)
    # The scheduler takes 1 - alpha in fp32, ours in fp64: they differ where alpha is nearly 1.
    assert torch.allclose(velocity.noisy(latents, noise, timesteps), noisy, atol=1e-5)
    wanted = scheduler.get_velocity(latents, noise, timesteps)
    assert torch.allclose(velocity.target(latents, noise, timesteps), wanted, atol=1e-5)


def test_min_snr_weighs_clean_steps_less() -> None:
    scheduler = _pipeline(ARCHITECTURES["cogvideox-5b"]).scheduler
    weighted = objective.Velocity(scheduler.alphas_cumprod, snr_gamma=5.0, device=CPU)
    plain = objective.Velocity(scheduler.alphas_cumprod, snr_gamma=None, device=CPU)
    said, latents, noise = torch.randn(3, 1, 3, 16, 4, 6)
    for step in (0, 100, 900):
        timesteps = torch.tensor([step])
        alpha = scheduler.alphas_cumprod[step].item()
        snr = alpha / (1 - alpha)
        with_weight = weighted.loss(said, latents, noise, timesteps)
        ratio = with_weight / plain.loss(said, latents, noise, timesteps)
        assert ratio.item() == pytest.approx(min(snr, 5.0) / (snr + 1), rel=1e-4)


def test_ofs_is_the_pipelines_constant() -> None:
    for name, architecture in ARCHITECTURES.items():
        ofs = objective.ofs_embedding(architecture, CPU, torch.float32)
        if name == "cogvideox1.5-5b-i2v":
            # pipeline_cogvideox_image2video.py:816
            assert ofs is not None
            assert torch.equal(ofs, torch.zeros(1).new_full((1,), fill_value=2.0))
        else:
            assert ofs is None


def test_caption_embeddings_are_the_pipelines(demo: Path) -> None:
    pipeline = CogVideoXPipeline.from_pretrained(demo / "model")
    tokenizer = load_tokenizer(demo / "model")
    encoder = load_text_encoder(demo / "model", torch.float32, CPU)
    for caption in ("A red square moves to the right.", "", "word " * 400):
        with torch.inference_mode():
            wanted, _ = pipeline.encode_prompt(caption, do_classifier_free_guidance=False)
        assert torch.equal(encode_caption(caption, tokenizer, encoder, 226), wanted[0])


def test_every_sample_has_noise_of_its_own() -> None:
    draws = {normal(42, Purpose.NOISE, n, (4,)).tobytes() for n in range(100)}
    assert len(draws) == 100
