"""The architecture of a CogVideoX model: the configs of its components, and sizes they imply.

Defaults are those of the diffusers classes, for keys that a config file omits (diffusers 0.42.1:
`CogVideoXTransformer3DModel`, `AutoencoderKLCogVideoX`).
"""

from typing import Literal

from attrs import frozen

Task = Literal["t2v", "i2v"]


@frozen(kw_only=True)
class Transformer:
    """Config of `CogVideoXTransformer3DModel`; sample sizes are in latent pixels and frames."""

    num_attention_heads: int = 30
    attention_head_dim: int = 64
    in_channels: int = 16
    out_channels: int = 16
    time_embed_dim: int = 512
    ofs_embed_dim: int | None = None
    text_embed_dim: int = 4096
    num_layers: int = 30
    attention_bias: bool = True
    sample_width: int = 90
    sample_height: int = 60
    sample_frames: int = 49
    patch_size: int = 2
    patch_size_t: int | None = None
    temporal_compression_ratio: int = 4
    max_text_seq_length: int = 226
    use_rotary_positional_embeddings: bool = False
    use_learned_positional_embeddings: bool = False
    patch_bias: bool = True

    @property
    def inner_dim(self) -> int:
        """Width of the hidden states."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def task(self) -> Task:
        """What it is for: image to video has the image's latents as additional channels."""
        return "i2v" if self.in_channels == 2 * self.out_channels else "t2v"

    def has_traits_of(self, other: "Transformer") -> bool:
        """Whether another transformer has the same architecture, apart from depth and width."""
        return self._traits == other._traits

    @property
    def _traits(self) -> tuple[object, ...]:
        return (
            self.task,
            self.patch_size_t,
            self.ofs_embed_dim is not None,
            self.use_rotary_positional_embeddings,
            self.use_learned_positional_embeddings,
        )


@frozen(kw_only=True)
class Vae:
    """Config of `AutoencoderKLCogVideoX`."""

    in_channels: int = 3
    block_out_channels: tuple[int, ...] = (128, 256, 256, 512)
    latent_channels: int = 16
    temporal_compression_ratio: int = 4
    scaling_factor: float = 1.15258426
    invert_scale_latents: bool = False

    @property
    def spatial_compression_ratio(self) -> int:
        """Pixels per latent pixel, along height and width."""
        return int(2 ** (len(self.block_out_channels) - 1))


@frozen(kw_only=True)
class TextEncoder:
    """Config of `T5EncoderModel`."""

    d_model: int = 4096
    d_ff: int = 10240
    d_kv: int = 64
    num_heads: int = 64
    num_layers: int = 24
    vocab_size: int = 32128
    relative_attention_num_buckets: int = 32


@frozen(kw_only=True)
class Scheduler:
    """Config of the noise schedule; the defaults are those of every CogVideoX on the hub."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "v_prediction"
    rescale_betas_zero_snr: bool = True
    snr_shift_scale: float = 1.0
    timestep_spacing: str = "trailing"


@frozen(kw_only=True)
class Architecture:
    """The configs of a CogVideoX model's four components."""

    transformer: Transformer
    vae: Vae
    text_encoder: TextEncoder
    scheduler: Scheduler

    @property
    def pixels_per_patch(self) -> int:
        """Height and width must be multiples of this."""
        return self.vae.spatial_compression_ratio * self.transformer.patch_size

    def latent_frames(self, frames: int) -> int:
        """Latent frames that the VAE encodes `frames` = 4k + 1 to."""
        return (frames - 1) // self.vae.temporal_compression_ratio + 1

    def padded_latent_frames(self, frames: int) -> int:
        """Latent frames of the transformer's input, padded to whole temporal patches."""
        latent = self.latent_frames(frames)
        return latent + -latent % (self.transformer.patch_size_t or 1)

    @property
    def grid_limit(self) -> tuple[int, int] | None:
        """Height and width of the largest patch grid with rotary positions; None if unlimited.

        Models with temporal patches slice positions from a table of the sample size; the others
        compute them for the actual size (diffusers 0.42.1, `_prepare_rotary_positional_embeddings`
        of pipeline_cogvideox.py; executed: a larger grid is a RuntimeError).
        """
        t = self.transformer
        if t.patch_size_t is None or not t.use_rotary_positional_embeddings:
            return None
        return t.sample_height // t.patch_size, t.sample_width // t.patch_size

    def tokens(self, frames: int, height: int, width: int) -> int:
        """Length of the transformer's sequence: the sample's patches and the prompt."""
        t = self.transformer
        unit = self.pixels_per_patch
        deep = self.padded_latent_frames(frames) // (t.patch_size_t or 1)
        return deep * (-(-height // unit)) * (-(-width // unit)) + t.max_text_seq_length
