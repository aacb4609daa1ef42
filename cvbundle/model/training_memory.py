"""What the transformer's training holds on a device, from sizes alone.

Weights, gradients and optimizer state are counted. Activations are multiples of one activation of
all tokens, U = 2 B S D bytes in 16 bit and twice that in fp32 (batch, sequence length, width). The
multiples are what `cvbundle rehearse` finds for the trainer's own step, and the tests hold them
against it; for sharded models they come from the same module without autocast.
"""

from attrs import evolve, field, frozen

from cvbundle.model.modules import lora_parameters, lora_targets, modules, total_parameters
from cvbundle.spec.schema import Resolution, Spec
from cvbundle.spec.tables.architecture import Architecture, Transformer
from cvbundle.spec.tables.strategies import STRATEGIES, StrategyKind

RESERVED = 1.30
"""What CUDA's allocator reserves of each byte of activations that come and go, block after block.

A fit to figures that were published as measured (zai-org/CogVideo#731; cogvideox-factory, now
finetrainers, examples/_legacy/training/README.md), with which these are met within 10 %.
"""
RESERVED_WHOLE = 1.03
"""The same where nothing is computed again: 43.8 GiB were reserved where 42.5 were allocated."""
_LIVE_BLOCKS = 3
"""Blocks of a sharded model that are whole at a time: one in use, one ahead, one let go."""


@frozen(kw_only=True)
class _Activations:
    """What a step holds of activations, in U."""

    block: float
    """What autograd saves of one block; over frozen weights, without the adapter's part."""
    last: float
    """Beyond all saved blocks, where the backward pass begins."""
    again: float
    """Beyond one block, where the first is computed again."""
    end: float
    """Beyond one block, where the backward pass ends."""


_ADAPTER = _Activations(block=16.2, last=8.3, again=10.2, end=10.2)
_ADAPTER_FP32 = _Activations(block=12.0, last=8.1, again=8.1, end=8.1)
_ADAPTER_SHARDED = _Activations(block=11.0, last=8.3, again=8.3, end=8.3)
_ALL = _Activations(block=29.2, last=12.1, again=6.2, end=7.2)
_ALL_FP32 = _Activations(block=23.1, last=6.1, again=4.3, end=5.8)
_ALL_SHARDED = _Activations(block=22.0, last=12.0, again=5.0, end=5.8)
_FORWARD = 15.4
"""U, beyond the checkpoints, where the forward pass ends."""
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

    @property
    def activations(self) -> _Activations:
        """The row of the table that this training is."""
        if self.adapter is None:
            full, half = _ALL_FP32, _ALL_SHARDED if self.strategy.shards else _ALL
        else:
            full, half = _ADAPTER_FP32, _ADAPTER_SHARDED if self.strategy.shards else _ADAPTER
        return full if self.weight_bytes == 4 else half


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


def held_bytes(load: TrainingLoad) -> int:
    """Weights and optimizer state between steps."""
    if load.strategy.offloads:
        return 0
    frozen_weights = 0 if load.adapter is None else load.weight_bytes * load.parameters
    each = load.trained_bytes + load.moment_bytes + (4 if load.average else 0)
    table = load.weight_bytes * load.positions
    return round((frozen_weights + each * load.trainable) / load.share + table)


def train_bytes(load: TrainingLoad, *, reserved: float = 1.0) -> int:
    """Peak of forward and backward; for activations that take `reserved` times their size."""
    gradients = 0.0 if load.strategy.offloads else load.gradients
    waiting = 0.0
    if load.accumulates:
        # Summed over the processes with the last batch: until then each holds all of its own.
        waiting = gradients = float(load.gradient_bytes * load.trainable)
    elif load.buckets:
        waiting = gradients
    moments = _moments(load)
    # What is computed last has no gradient yet.
    started = max(0.0, gradients - load.gradient_bytes * load.block / load.share)
    peak = max(
        waiting + moments.forward_copies + reserved * moments.forward,
        waiting + moments.begin_copies + reserved * moments.begin,
        (gradients if load.accumulates or load.buckets or load.adapter is not None else started)
        + moments.end_copies
        + reserved * moments.end,
    )
    return round(held_bytes(load) + _gathered(load) + peak)


@frozen(kw_only=True)
class _Moments:
    """Activations where they may be most, and 16-bit copies of trained weights with them."""

    forward: float
    forward_copies: float
    begin: float
    begin_copies: float
    end: float
    end_copies: float


def _moments(load: TrainingLoad) -> _Moments:
    rows, layers, unit = load.activations, load.transformer.num_layers, load.unit
    saved = rows.block + (load.adapter or 0.0)
    copy = 2 * load.block if load.casts and load.adapter is None else 0
    copies = 2 * load.trainable if load.casts else 0
    if not load.checkpointing:
        begin, begin_copies = layers * saved + rows.last, copy * layers
        forward = begin - rows.last
    else:
        kept = 0.0
        if load.checkpointing == "selective":
            # Attention's output, and a number in fp32 for each token and head.
            kept = 1 + 4 / (load.weight_bytes * load.transformer.attention_head_dim)
        # The last block's is among what is saved of it.
        begin, begin_copies = layers + (layers - 1) * kept + saved + rows.again, copy
        forward = layers * (1 + kept) + _FORWARD
    return _Moments(
        forward=forward * unit,
        forward_copies=copies,
        begin=begin * unit,
        begin_copies=begin_copies,
        end=(saved + rows.end) * unit,
        end_copies=copy,
    )


def _gathered(load: TrainingLoad) -> float:
    """Weights of a sharded model that are whole while it computes, and gradients to be summed."""
    if not load.strategy.shards:
        return 0.0
    outside = load.parameters - load.transformer.num_layers * load.block
    blocks = _LIVE_BLOCKS if load.strategy.reshards else load.transformer.num_layers
    # A block's gradient in the weights' type, and in fp32 for the sum.
    summed = (load.weight_bytes + 4) * load.block if load.adapter is None else 0
    return load.weight_bytes * (outside + blocks * load.block) + summed


def step_bytes(load: TrainingLoad) -> int:
    """The optimizer's step: torch's fused kernels make no copy of what they update."""
    gradients = 0.0 if load.strategy.offloads else load.gradients
    return round(held_bytes(load) + gradients + load.inputs)


def reserved_share(load: TrainingLoad) -> float:
    """What the allocator reserves of each byte of activations."""
    return RESERVED if load.checkpointing else RESERVED_WHOLE


def block_parameters(transformer: Transformer) -> int:
    """Parameters of one block's linear layers."""
    return sum(
        module.parameters
        for module in modules(evolve(transformer, num_layers=1))
        if module.name.startswith("transformer_blocks.")
    )
