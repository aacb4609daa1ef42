"""What the transformer is given and what it is trained towards.

Every tensor here equals the one that diffusers' own pipeline builds for the same clip, caption and
noise (diffusers 0.42.1, pipelines/cogvideo); the tests call the pipeline's methods and compare.
Shapes: B batch, F latent frames, C latent channels, H and W latent height and width.
"""

from typing import TYPE_CHECKING

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor, nn

from cvbundle.spec.schema import Resolution
from cvbundle.spec.tables.architecture import Architecture

if TYPE_CHECKING:
    from cvbundle.training.models import CogVideoXTransformer3DModel

Rotary = tuple[Tensor, Tensor]


def scale_latents(latents: Tensor, architecture: Architecture) -> Tensor:
    """A clip's latents as the transformer sees them (decoding divides by the same factor)."""
    return latents * architecture.vae.scaling_factor


def scale_image_latents(latents: Tensor, architecture: Architecture) -> Tensor:
    """The conditioning image's latents: 1.5 was trained on the inverse (pipeline i2v, 387-392)."""
    factor = architecture.vae.scaling_factor
    # To the bit: dividing by the factor would round once, not twice.
    return latents * (1 / factor if architecture.vae.invert_scale_latents else factor)


def pad_in_front(latents: Tensor, architecture: Architecture) -> Tensor:
    """Whole temporal patches: the first latent frame is repeated in front, [B, F, C, H, W].

    The pipeline makes the same number of frames more and drops them from the front
    (pipeline_cogvideox.py:679-687, 786).
    """
    patch = architecture.transformer.patch_size_t or 1
    missing = -latents.shape[1] % patch
    if not missing:
        return latents
    return torch.cat([latents[:, :1].expand(-1, missing, -1, -1, -1), latents], dim=1)


def drawn_latents(moments: Tensor, draw: Tensor) -> Tensor:
    """Latents [B, F, C, H, W], fp32, of the VAE's moments [B, 2C, F, H, W], not yet scaled.

    Those that a draw from a standard normal distribution [B, C, F, H, W] stands for; 0 is the mean.
    Source: diffusers autoencoders/vae.py, `DiagonalGaussianDistribution`.
    """
    mean, log_variance = moments.to(torch.float32).chunk(2, dim=1)
    deviation = log_variance.clamp(-30.0, 20.0).mul_(0.5).exp_()
    return deviation.mul_(draw).add_(mean).transpose(1, 2)


def place_image(image_latents: Tensor, frames: int) -> Tensor:
    """The image's latents [B, 1, C, H, W] as frame 0 of `frames`; the other frames are zero."""
    batch, _, channels, height, width = image_latents.shape
    placed = image_latents.new_zeros((batch, frames, channels, height, width))
    placed[:, :1] = image_latents
    return placed


def rotary_embedding(
    architecture: Architecture, resolution: Resolution, device: torch.device
) -> Rotary | None:
    """Cosines and sines [tokens, head dim] of a sample's video tokens; None without rotary."""
    transformer = architecture.transformer
    if not transformer.use_rotary_positional_embeddings:
        return None
    grid = (
        resolution.height // architecture.pixels_per_patch,
        resolution.width // architecture.pixels_per_patch,
    )
    base_width = transformer.sample_width // transformer.patch_size
    base_height = transformer.sample_height // transformer.patch_size
    frames = architecture.padded_latent_frames(resolution.frames)
    if transformer.patch_size_t is None:
        cos, sin = get_3d_rotary_pos_embed(
            embed_dim=transformer.attention_head_dim,
            crops_coords=_crop_region(grid, base_width, base_height),
            grid_size=grid,
            temporal_size=frames,
            device=device,
        )
    else:
        cos, sin = get_3d_rotary_pos_embed(
            embed_dim=transformer.attention_head_dim,
            crops_coords=None,
            grid_size=grid,
            temporal_size=frames // transformer.patch_size_t,
            grid_type="slice",
            max_size=(base_height, base_width),
            device=device,
        )
    return cos, sin


def _crop_region(
    grid: tuple[int, int], base_width: int, base_height: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a grid of patches [height, width] lies in the base grid: top left, bottom right.

    Source: pipeline_cogvideox.py, `get_resize_crop_region_for_grid`, whose import would load T5.
    """
    height, width = grid
    if height / width > base_height / base_width:
        resized_height, resized_width = base_height, round(base_height / height * width)
    else:
        resized_height, resized_width = round(base_width / width * height), base_width
    top = round((base_height - resized_height) / 2.0)
    left = round((base_width - resized_width) / 2.0)
    return (top, left), (top + resized_height, left + resized_width)


def keep_positions(
    transformer: "CogVideoXTransformer3DModel",
    architecture: Architecture,
    resolution: Resolution,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Compute the table of a run's positions once, where the model would at every forward pass.

    It keeps only the table of the size in its config: embeddings.py, `CogVideoXPatchEmbed.forward`.
    """
    embedding, config = transformer.patch_embed, architecture.transformer
    if config.use_rotary_positional_embeddings or config.use_learned_positional_embeddings:
        return
    factor = architecture.vae.spatial_compression_ratio
    frames = architecture.padded_latent_frames(resolution.frames)
    embedding.sample_frames = (frames - 1) * config.temporal_compression_ratio + 1
    embedding.sample_height = resolution.height // factor
    embedding.sample_width = resolution.width // factor
    table = embedding._get_positional_embeddings(
        embedding.sample_height, embedding.sample_width, embedding.sample_frames
    )
    embedding.register_buffer("pos_embedding", table.to(dtype).to(device), persistent=False)


def ofs_embedding(
    architecture: Architecture, device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    """The constant 2.0 that 1.5 image-to-video models are given (pipeline i2v:816)."""
    if architecture.transformer.ofs_embed_dim is None:
        return None
    return torch.full((1,), 2.0, device=device, dtype=dtype)


class Velocity:
    """Diffusion by v-prediction, in fp32 (Salimans and Ho, arXiv 2202.00512).

    Equal to the upstream loss, which weighs the error of x0 by 1 / (1 - alpha_bar): both are the
    squared error of v.
    """

    def __init__(
        self, alphas_cumprod: Tensor, *, snr_gamma: float | None, device: torch.device
    ) -> None:
        alphas = alphas_cumprod.to(device=device, dtype=torch.float64)
        self._shares = torch.stack([alphas.sqrt(), (1 - alphas).sqrt()]).to(torch.float32)
        self._weight = None if snr_gamma is None else _min_snr(alphas, snr_gamma)

    def noisy(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t of x_0 = `latents`, [B, F, C, H, W]."""
        of_latents, of_noise = _at(self._shares, timesteps).unbind()
        return of_latents * latents + of_noise * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The velocity that the transformer should say."""
        of_latents, of_noise = _at(self._shares, timesteps).unbind()
        return of_latents * noise - of_noise * latents

    def loss(self, velocity: Tensor, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Mean squared error over all elements of the batch, weighted by SNR if asked; a scalar."""
        error = self.error(velocity, latents, noise, timesteps)
        if self._weight is not None:
            error = error * _at(self._weight, timesteps)
        return error.mean()

    def error(self, velocity: Tensor, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Squared error of each element, without a weight; fp32."""
        return (velocity.float() - self.target(latents, noise, timesteps)).square()


def predict(
    transformer: nn.Module,
    noisy: Tensor,
    prompt: Tensor,
    timesteps: Tensor,
    *,
    image: Tensor | None,
    rotary: Rotary | None,
    ofs: Tensor | None,
) -> Tensor:
    """The transformer's velocity [B, F, C, H, W]; an image's latents go beside it on channels."""
    states = noisy if image is None else torch.cat([noisy, image], dim=2)
    velocity: Tensor = transformer(
        hidden_states=states,
        encoder_hidden_states=prompt,
        timestep=timesteps,
        ofs=ofs,
        image_rotary_emb=rotary,
        return_dict=False,
    )[0]
    return velocity


def _at(table: Tensor, timesteps: Tensor) -> Tensor:
    """Of a table [..., timesteps] what is in it for some of them, [..., B, 1, 1, 1, 1]."""
    return table.index_select(-1, timesteps)[..., None, None, None, None]


def _min_snr(alphas: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / (SNR + 1), the min-SNR weight for v (arXiv 2303.09556, section 3.4)."""
    # In terms of alpha_bar, so that SNR = 0 and infinity need no care.
    return torch.minimum(alphas, gamma * (1 - alphas)).to(torch.float32)
