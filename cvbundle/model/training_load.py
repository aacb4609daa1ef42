"""The sizes that the memory and the arithmetic of training follow from."""

from attrs import evolve, field, frozen

from cvbundle.model.modules import lora_parameters, lora_targets, modules, total_parameters
from cvbundle.spec.resolution import Resolution
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture, Transformer
from cvbundle.spec.tables.strategies import STRATEGIES, StrategyKind

_RANK = 1.3
"""U that a layer's adapter keeps of its own, for a rank as large as the width."""
_KEPT_INPUTS = {
    "attn1.to_q": ("attention", 1),
    "attn1.to_k": ("attention", 1),
    "attn1.to_v": ("attention", 1),
    "attn1.to_out.0": ("output", 1),
    "ff.net.0.proj": ("feed forward", 1),
    "ff.net.2": ("hidden", 4),
}
"""What an adapted layer of a block keeps: its input, which several can share, of a width in U."""


@frozen(kw_only=True)
class TrainingLoad:
    """The sizes that the memory of training follows from."""

    transformer: Transformer
    trainable: int
    """Parameters that are trained."""
    adapter: float | None
    """U that LoRA keeps in each block, over frozen weights; None where all weights are trained."""
    tokens: int
    """Length of the sequence."""
    batch: int
    """Samples on a device at a time."""
    weight_bytes: int
    """Bytes of a frozen weight, and of an activation: 4 with `mixed_precision: no`."""
    trained_bytes: int = 4
    """Bytes of a trained weight."""
    gradient_bytes: int = 4
    """Bytes of its gradient; 0 where an optimizer on the host takes it."""
    moment_bytes: int = 8
    """Bytes of optimizer state for each trained parameter."""
    average: bool = False
    """Whether a moving average of the trained weights is held."""
    checkpointing: bool | str = True
    positions: int = 0
    """Numbers in a table of positions, which is no parameter."""
    inputs: int = 0
    """Bytes of a batch: latents, noise and captions."""
    accumulates: bool = False
    """Whether a step has several batches, so that gradients are there in the forward pass."""
    strategy: StrategyKind = STRATEGIES["single"]
    processes: int = 1
    parameters: int = field()
    """All parameters of the transformer."""
    block: int = field()
    """Parameters of one of its blocks."""

    @parameters.default
    def _parameters(self) -> int:
        return total_parameters(self.transformer)

    @block.default
    def _block(self) -> int:
        return block_parameters(self.transformer)

    @property
    def unit(self) -> float:
        """U, in bytes."""
        return self.weight_bytes * self.batch * self.tokens * self.transformer.inner_dim

    @property
    def share(self) -> int:
        """Of how many equal parts this device holds one."""
        return self.processes if self.strategy.shards else 1

    @property
    def gradients(self) -> float:
        """All gradients that this device holds."""
        return self.gradient_bytes * self.trainable / self.share

    @property
    def buckets(self) -> bool:
        """Whether gradients are views of buckets, which DDP holds from one end to the other.

        There is no second copy of them (torch/csrc/distributed/c10d/reducer.cpp,
        `initialize_buckets`, with `gradient_as_bucket_view`).
        """
        return self.processes > 1 and not self.strategy.shards

    @property
    def casts(self) -> bool:
        """Whether autocast makes a 16-bit copy of each trained weight."""
        return self.weight_bytes == 2 and not self.strategy.shards


def training_load(spec: Spec, architecture: Architecture) -> TrainingLoad:
    """The load of a bundle's training on one device."""
    transformer = architecture.transformer
    size, training, lora = spec.data.resolution, spec.training, spec.lora
    return TrainingLoad(
        transformer=transformer,
        trainable=total_parameters(transformer)
        if lora is None
        else lora_parameters(transformer, lora.target_modules, lora.rank),
        adapter=None
        if lora is None
        else adapter_units(transformer, lora.target_modules, lora.rank),
        tokens=architecture.tokens(size.frames, size.height, size.width),
        batch=training.batch_size,
        weight_bytes=4 if training.mixed_precision == "no" else 2,
        moment_bytes=spec.optimizer.kind.state_bytes,
        average=training.ema_decay is not None,
        checkpointing=training.gradient_checkpointing,
        positions=positions(architecture, size),
        inputs=training.batch_size
        * _sample_bytes(architecture, size, with_image=spec.model.type == "i2v"),
        accumulates=training.gradient_accumulation_steps > 1,
        strategy=spec.launch.kind,
        processes=spec.launch.num_processes,
    )


def adapter_units(transformer: Transformer, targets: tuple[str, ...], rank: int) -> float:
    """What LoRA keeps in a block for its gradients, in U: inputs, and what they are narrowed to."""
    block = "transformer_blocks.0."
    names = {module.name for target in targets for module in lora_targets(transformer, target)}
    kept = {name.removeprefix(block) for name in names if name.startswith(block)} & set(
        _KEPT_INPUTS
    )
    inputs = dict(_KEPT_INPUTS[name] for name in kept)
    return sum(inputs.values()) + _RANK * len(kept) * rank / transformer.inner_dim


def positions(architecture: Architecture, size: Resolution) -> int:
    """Numbers in the table of positions: of the model's own, or of those that it computes."""
    transformer = architecture.transformer
    learned = transformer.use_learned_positional_embeddings
    if transformer.use_rotary_positional_embeddings and not learned:
        return 0
    tokens = architecture.tokens(size.frames, size.height, size.width)
    return tokens * transformer.inner_dim


def _sample_bytes(architecture: Architecture, size: Resolution, *, with_image: bool) -> int:
    """Latents, noise and an image's latents in fp32, and the caption's embedding in 16 bit."""
    transformer, vae = architecture.transformer, architecture.vae
    pixels = size.height * size.width // vae.spatial_compression_ratio**2
    latents = architecture.padded_latent_frames(size.frames) * vae.latent_channels * pixels
    return (
        12 if with_image else 8
    ) * latents + 2 * transformer.max_text_seq_length * transformer.text_embed_dim


def block_parameters(transformer: Transformer) -> int:
    """Parameters of one block's linear layers."""
    return sum(
        module.parameters
        for module in modules(evolve(transformer, num_layers=1))
        if module.name.startswith("transformer_blocks.")
    )
