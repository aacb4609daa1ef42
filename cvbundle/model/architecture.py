"""The architecture of a CogVideoX model, read from its config files without torch.

Keys that a config file omits have the defaults of the diffusers classes (diffusers 0.42.1:
`CogVideoXTransformer3DModel`, `AutoencoderKLCogVideoX`).
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from attrs import asdict, fields_dict, frozen

from cvbundle.problems import UserError


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


_PARTS: tuple[tuple[str, str, type], ...] = (
    ("transformer", "transformer/config.json", Transformer),
    ("vae", "vae/config.json", Vae),
    ("text_encoder", "text_encoder/config.json", TextEncoder),
    ("scheduler", "scheduler/scheduler_config.json", Scheduler),
)


def read_architecture(folder: Path) -> Architecture:
    """Read the config files of a folder in diffusers layout.

    Raises:
        UserError: a file is missing or invalid; the message names it.
    """
    return Architecture(**{name: _part(folder / file, cls) for name, file, cls in _PARTS})


def has_config_files(folder: Path) -> bool:
    """Whether a folder has every config file that `read_architecture` reads."""
    return all((folder / file).is_file() for _, file, _ in _PARTS)


def architecture_data(architecture: Architecture) -> dict[str, Any]:
    """The architecture as plain data, for `model.json`."""
    return asdict(architecture)


# Bounds far beyond any real config: config files are untrusted, and some sizes are loop counts.
_LARGEST = 1_000_000
_MOST_LAYERS = 1_000
_MOST_STAGES = 8
_MAX_CONFIG_BYTES = 1 << 20


def _part(path: Path, cls: type) -> Any:
    try:
        if path.exists() and not (path.is_file() and path.stat().st_size <= _MAX_CONFIG_BYTES):
            raise UserError(f"{path}: is not a config file")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}): "
            "model.path needs a folder in diffusers layout (transformer/, vae/, …)"
        ) from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not JSON") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: is not a JSON object")
    values: dict[str, Any] = {}
    for name, attribute in fields_dict(cls).items():
        if name in data:
            values[name] = _value(path, name, data[name], attribute.default)
    if values.get("num_layers", 0) > _MOST_LAYERS:
        raise _implausible(path, "num_layers", values["num_layers"])
    return cls(**values)


def _value(path: Path, name: str, value: object, default: object) -> object:
    """A config value, checked against the type of the class's default."""
    if isinstance(default, tuple):
        if (
            isinstance(value, list)
            and 0 < len(value) <= _MOST_STAGES
            and all(type(item) is int and 0 < item <= _LARGEST for item in value)
        ):
            return tuple(value)
    elif default is None:
        if value is None or (type(value) is int and 0 < value <= _LARGEST):
            return value
    elif isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, int):
        if type(value) is int and 0 < value <= _LARGEST:
            return value
        if type(value) is float and value.is_integer() and 0 < value <= _LARGEST:
            return int(value)
    elif isinstance(default, float):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LARGEST:
            return float(value)
    elif isinstance(value, type(default)):
        return value
    raise _implausible(path, name, value)


def _implausible(path: Path, name: str, value: object) -> UserError:
    return UserError(f"{path}: {name} is {repr(value)[:60]}, which no CogVideoX has")


@frozen
class Module:
    """A module of the transformer that LoRA can adapt: a `Linear`, or a `Conv2d` on patches."""

    name: str
    kind: str
    inputs: int
    outputs: int
    kernel: int = 1
    """Positions of a convolution's kernel."""

    @property
    def parameters(self) -> int:
        """Weights and biases (all of these modules have a bias)."""
        return self.inputs * self.outputs * self.kernel + self.outputs

    def lora_parameters(self, rank: int) -> int:
        """The parameters of an adapter of this rank."""
        return rank * (self.inputs * self.kernel + self.outputs)


@cache
def modules(transformer: Transformer) -> tuple[Module, ...]:
    """Every module that LoRA can adapt, by its full name (diffusers 0.42.1, executed)."""
    return tuple(_modules(transformer))


def _modules(t: Transformer) -> Iterator[Module]:
    dim = t.inner_dim
    if t.patch_size_t is None:
        yield Module("patch_embed.proj", "Conv2d", t.in_channels, dim, t.patch_size**2)
    else:
        patch = t.in_channels * t.patch_size**2 * t.patch_size_t
        yield Module("patch_embed.proj", "Linear", patch, dim)
    yield Module("patch_embed.text_proj", "Linear", t.text_embed_dim, dim)
    yield Module("time_embedding.linear_1", "Linear", dim, t.time_embed_dim)
    yield Module("time_embedding.linear_2", "Linear", t.time_embed_dim, t.time_embed_dim)
    if t.ofs_embed_dim is not None:
        yield Module("ofs_embedding.linear_1", "Linear", t.ofs_embed_dim, t.ofs_embed_dim)
        yield Module("ofs_embedding.linear_2", "Linear", t.ofs_embed_dim, t.ofs_embed_dim)
    for layer in range(t.num_layers):
        block = f"transformer_blocks.{layer}"
        yield Module(f"{block}.norm1.linear", "Linear", t.time_embed_dim, 6 * dim)
        for projection in ("to_q", "to_k", "to_v", "to_out.0"):
            yield Module(f"{block}.attn1.{projection}", "Linear", dim, dim)
        yield Module(f"{block}.norm2.linear", "Linear", t.time_embed_dim, 6 * dim)
        yield Module(f"{block}.ff.net.0.proj", "Linear", dim, 4 * dim)
        yield Module(f"{block}.ff.net.2", "Linear", 4 * dim, dim)
    yield Module("norm_out.linear", "Linear", t.time_embed_dim, 2 * dim)
    patch_out = t.out_channels * t.patch_size**2 * (t.patch_size_t or 1)
    yield Module("proj_out", "Linear", dim, patch_out)


def lora_targets(transformer: Transformer, target: str) -> tuple[Module, ...]:
    """The modules that one entry of `lora.target_modules` adapts.

    A name matches as a whole or by its end after a dot, as peft matches a list of names
    (peft 0.21.2, tuners/tuners_utils.py, `check_target_module_exists`).
    """
    return _by_ending(transformer).get(target, ())


@cache
def _by_ending(transformer: Transformer) -> Mapping[str, tuple[Module, ...]]:
    """The modules by their names and by every end of their names after a dot."""
    by_ending: dict[str, list[Module]] = {}
    for module in modules(transformer):
        ending = module.name
        while ending:
            by_ending.setdefault(ending, []).append(module)
            ending = ending.partition(".")[2]
    return {ending: tuple(modules_with) for ending, modules_with in by_ending.items()}


def lora_parameters(transformer: Transformer, targets: tuple[str, ...], rank: int) -> int:
    """Trainable parameters of an adapter on all modules that any of the targets matches."""
    adapted = {module for target in targets for module in lora_targets(transformer, target)}
    return sum(module.lora_parameters(rank) for module in adapted)


@cache
def total_parameters(transformer: Transformer) -> int:
    """All parameters of the transformer, the LayerNorms included."""
    t = transformer
    dim = t.inner_dim
    in_block = 2 * (2 * dim) + 2 * (2 * t.attention_head_dim)
    outside = 2 * dim + 2 * dim
    norms = t.num_layers * in_block + outside
    return sum(module.parameters for module in modules(t)) + norms


def text_encoder_parameters(encoder: TextEncoder) -> int:
    """All parameters of the T5 encoder (transformers `T5EncoderModel`, gated feed-forward)."""
    inner = encoder.num_heads * encoder.d_kv
    attention = 4 * encoder.d_model * inner
    feed_forward = 3 * encoder.d_model * encoder.d_ff
    layer_norms = 2 * encoder.d_model
    position_bias = encoder.relative_attention_num_buckets * encoder.num_heads
    return (
        encoder.vocab_size * encoder.d_model
        + encoder.num_layers * (attention + feed_forward + layer_norms)
        + encoder.d_model
        + position_bias
    )


def has_traits_of(transformer: Transformer, other: Transformer) -> bool:
    """Whether two transformers have the same architecture, apart from depth and width."""
    return _traits(transformer) == _traits(other)


def _traits(t: Transformer) -> Mapping[str, object]:
    return {
        "image_input": t.in_channels == 2 * t.out_channels,
        "temporal_patch": t.patch_size_t,
        "ofs": t.ofs_embed_dim is not None,
        "rotary": t.use_rotary_positional_embeddings,
        "learned": t.use_learned_positional_embeddings,
    }
