"""The modules of a CogVideoX transformer, and how many parameters a model and an adapter have."""

from collections.abc import Iterator, Mapping
from functools import cache

from attrs import frozen

from cvbundle.spec.tables.architecture import TextEncoder, Transformer


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
