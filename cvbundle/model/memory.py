"""How much memory of a device each phase of a run needs, from sizes alone.

Weights, gradients and optimizer states are counted. Activations are multiples of one bf16
activation, U = 2 B S D bytes (batch, sequence length, width), found by running diffusers 0.42.1
forward and backward on fake tensors with checkpointing at every block. What the allocator reserves
is 1.30 times that, fitted to figures that were published as measured. Together they give the
measured figures within 10 % (facts of the project, section 4; cogvideox-factory,
examples/_legacy/training/README.md; CogVideo#731).

The CUDA context, about 0.5 GiB, comes on top.
"""

from typing import Literal

from attrs import evolve, field, frozen

from cvbundle.model.architecture import (
    Architecture,
    Transformer,
    Vae,
    lora_parameters,
    modules,
    text_encoder_parameters,
    total_parameters,
)
from cvbundle.model.identify import BaseModel
from cvbundle.spec.schema import Spec

GIB = 2**30

PhaseName = Literal["encode_text", "encode_clips", "train", "step", "validate"]

_RESERVED = 1.30
"""What the allocator reserves of each byte of activations; a fit, see above."""
_ENCODER_SHARE = 92_215_456 / 215_583_907
"""The encoder's share of the VAE's parameters (diffusers, on the meta device)."""
_VAE_PARAMETERS = 215_583_907
_TILE_HEIGHT, _TILE_WIDTH = 240, 360
_FSDP_LIVE_BLOCKS = 3
_ZERO_BUCKET = 4 * 500_000_000
"""DeepSpeed's reduce bucket, 5e8 fp32 elements."""
_ZERO3_LIVE = 2 * 1_500_000_000
"""DeepSpeed's gathered and prefetched parameters, 1e9 + 5e8 of two bytes."""
_SHARDED: frozenset[str] = frozenset(("zero2", "zero2-offload", "zero3", "zero3-offload"))


@frozen
class Phase:
    """One phase of a run: nothing of it is held when the next one begins, but for the weights."""

    name: PhaseName
    bytes: int
    of: str
    """What the largest parts are."""


@frozen
class MemoryEstimate:
    """What a device needs in each phase, in bytes; a run needs the largest of them."""

    phases: tuple[Phase, ...]
    note: str
    peak: int = field()

    @peak.default
    def _largest(self) -> int:
        return max(phase.bytes for phase in self.phases)

    def phase(self, name: PhaseName) -> Phase:
        """A phase by its name."""
        return next(phase for phase in self.phases if phase.name == name)


def estimate(spec: Spec, model: BaseModel) -> MemoryEstimate:
    """What one device of a run needs, phase by phase."""
    architecture = model.architecture
    size = spec.data.resolution
    width = 4 if spec.training.mixed_precision == "no" else 2
    load = _load(spec, architecture)
    text = text_encoder_parameters(architecture.text_encoder) * width
    vae = round(_vae_parameters(architecture.vae) * width)
    encoder = round(vae * _ENCODER_SHARE)
    with_image = spec.model.type == "i2v"
    kept = encoder if with_image else 0
    frames, height, columns = size.frames, size.height, size.width
    encoding = encode_bytes(
        architecture.vae, frames, height, columns, tiled=spec.data.vae_tiling, width=width
    )
    train, bound = train_bytes(load)
    phases = [
        Phase("encode_text", text + round(0.1 * GIB), "text encoder"),
        Phase("encode_clips", vae + encoding, "VAE and what it holds of one clip"),
        Phase("train", train + kept, "weights, gradients, optimizer, activations"),
        Phase("step", step_bytes(load) + kept, "weights, gradients, optimizer"),
    ]
    if spec.validation is not None:
        decoding = decode_bytes(
            architecture.vae, frames, height, columns, tiled=spec.data.vae_tiling, width=width
        )
        shown = held_bytes(load) + max(denoise_bytes(load), vae + decoding)
        phases.append(Phase("validate", shown, "weights, optimizer, VAE and one sample"))
    return MemoryEstimate(tuple(phases), bound)


@frozen(kw_only=True)
class TrainingLoad:
    """The sizes that the memory of training follows from."""

    transformer: Transformer
    trainable: int
    """Parameters that are trained."""
    adapter: bool
    """LoRA over frozen weights; else all weights are trained."""
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
    ema: bool = False
    checkpointing: bool = True
    strategy: str = "single"
    processes: int = 1
    foreach: bool = True
    """Whether the optimizer's step makes a temporary copy of all parameters."""

    @property
    def parameters(self) -> int:
        """All parameters of the transformer."""
        return total_parameters(self.transformer)

    @property
    def unit(self) -> float:
        """U: one activation of all tokens, in bytes."""
        return self.weight_bytes * self.batch * self.tokens * self.transformer.inner_dim

    @property
    def layers(self) -> int:
        """L: checkpointed blocks."""
        return self.transformer.num_layers


def _load(spec: Spec, architecture: Architecture) -> TrainingLoad:
    transformer = architecture.transformer
    size, training = spec.data.resolution, spec.training
    adapter = spec.lora is not None
    return TrainingLoad(
        transformer=transformer,
        trainable=lora_parameters(transformer, spec.lora.target_modules, spec.lora.rank)
        if spec.lora is not None
        else total_parameters(transformer),
        adapter=adapter,
        tokens=architecture.tokens(size.frames, size.height, size.width),
        batch=training.batch_size,
        weight_bytes=4 if training.mixed_precision == "no" else 2,
        moment_bytes=spec.optimizer.kind.state_bytes,
        ema=training.ema_decay is not None,
        checkpointing=training.gradient_checkpointing is not False,
        strategy=spec.launch.strategy,
        processes=spec.launch.num_processes,
        foreach=spec.optimizer.kind.fused,
    )


def train_bytes(load: TrainingLoad) -> tuple[int, str]:
    """Peak of forward and backward, and how it was found.

    Rows of facts 4: `(L + 31) U` for LoRA over 16-bit weights with autocast; for all weights in
    fp32 with autocast `max(2P + (L + 15) U, (L + 42) U)`, where 2P is autocast's 16-bit copy;
    `(L + 27) U` for all weights in 16 bit under DeepSpeed or FSDP.
    """
    if load.strategy in _SHARDED:
        return _zero_bytes(load)
    if load.strategy == "fsdp":
        return round(_fsdp_bytes(load)), "FSDP rows of several devices measured 3 to 6 GiB more"
    reserved = _RESERVED * activation_bytes(load)
    static = _static_bytes(load)
    note = "published figures are within 10 % of this"
    if not load.checkpointing:
        # Measured without checkpointing, what is reserved is hardly more than what is used.
        return round(static + activation_bytes(load)), note
    if load.adapter or load.weight_bytes == 4:
        return round(static + reserved), note
    # Gradients are whole when the last block's activations are computed again.
    gradients = load.gradient_bytes * load.trainable
    copied = 2 * load.parameters
    passing = max(
        copied + _RESERVED * (load.layers + 15) * load.unit,
        reserved,
        gradients + _RESERVED * 42 * load.unit,
    )
    return round(static - gradients + passing), note


def activation_bytes(load: TrainingLoad) -> float:
    """What forward and backward hold at most, in bytes."""
    layers = load.layers
    if not load.checkpointing:
        # Saved by every block, and one block's own; facts 4, "no checkpointing".
        blocks = 20.3 if load.adapter else 22.0
        return (blocks * layers + 13) * load.unit
    if load.weight_bytes == 4:
        # No autocast: the rows for one type throughout, at four bytes.
        return (layers + (21.5 if load.adapter else 27)) * load.unit
    if load.adapter:
        return (layers + 31) * load.unit
    return (layers + (42 if load.strategy in ("single", "ddp") else 27)) * load.unit


def step_bytes(load: TrainingLoad) -> int:
    """The optimizer's step: Adam over all parameters at once makes one copy more of them."""
    temporary = 4 * load.trainable if load.foreach else 0
    if load.strategy in _SHARDED or load.strategy == "fsdp":
        gradients = load.gradient_bytes * load.trainable
        if load.strategy.endswith("-offload"):
            temporary, gradients = 0, 0
        return round(held_bytes(load) + (gradients + temporary) / load.processes)
    return round(_static_bytes(load) + temporary)


def held_bytes(load: TrainingLoad) -> int:
    """Weights and optimizer state between steps."""
    per_parameter = load.moment_bytes + (4 if load.ema else 0)
    share = load.processes if load.strategy in _SHARDED or load.strategy == "fsdp" else 1
    states = per_parameter * load.trainable / share
    if load.strategy.endswith("-offload"):
        states = 0
    return round(_weights(load) + states)


def denoise_bytes(load: TrainingLoad) -> int:
    """One denoising step with guidance: two samples, and no more than one block's activations."""
    return round(_RESERVED * 13 * 2 * load.unit / max(1, load.batch))


def _weights(load: TrainingLoad) -> float:
    """The weights that are on the device between steps."""
    frozen_weights = load.weight_bytes * load.parameters if load.adapter else 0
    trained = load.trained_bytes * load.trainable
    if load.strategy in ("single", "ddp"):
        return frozen_weights + trained
    if load.strategy == "fsdp":
        return (frozen_weights + trained) / load.processes
    base: float = load.weight_bytes * load.parameters
    if load.strategy.startswith("zero3"):
        base = 0 if load.strategy == "zero3-offload" else base / load.processes
    master = 0 if load.strategy.endswith("-offload") else 4 * load.trainable / load.processes
    return base + master


def _static_bytes(load: TrainingLoad) -> float:
    """Weights, gradients and optimizer state where every device has all of them."""
    gradients = load.gradient_bytes * load.trainable
    # DDP's buckets are a second copy of the gradients (accelerate keeps them apart).
    buckets = gradients if load.strategy == "ddp" and load.processes > 1 else 0
    return held_bytes(load) + gradients + buckets


def _fsdp_bytes(load: TrainingLoad) -> float:
    """Shards of everything, and a few blocks that are gathered (facts 4, FSDP2)."""
    gathered = _FSDP_LIVE_BLOCKS * load.weight_bytes * block_parameters(load.transformer)
    gradients = load.gradient_bytes * load.trainable / load.processes
    scale = _RESERVED if load.checkpointing else 1.0
    return held_bytes(load) + gradients + gathered + scale * activation_bytes(load)


def _zero_bytes(load: TrainingLoad) -> tuple[int, str]:
    """ZeRO: the larger of what adds up and of what was published for DeepSpeed.

    Published figures for ZeRO don't follow from sharding arithmetic: they are the same on one
    device and on eight. Full fine-tuning of three models lies on `4.4 + 2.84 W + 1.215 A` GiB, and
    on `5.5 + 1.41 W + 1.12 A` with everything offloaded, for weights W = 2P and activations A
    (zai-org/CogVideo finetune/README.md:14-31; three points each).
    """
    scale = _RESERVED if load.checkpointing else 1.0
    activations = activation_bytes(load)
    sharded = load.processes
    weights, gradients = load.weight_bytes * load.parameters, 2 * load.trainable
    states = (4 + load.moment_bytes) * load.trainable
    if load.strategy.endswith("-offload"):
        states, gradients = 0, 0
    bucket = min(_ZERO_BUCKET, 4 * load.trainable)
    if load.strategy.startswith("zero3"):
        live = min(_ZERO3_LIVE, weights)
        kept = 0.0 if load.strategy == "zero3-offload" else (weights + gradients) / sharded
        summed = kept + states / sharded + live + bucket + scale * activations
    else:
        summed = weights + (gradients + states) / sharded + bucket + scale * activations
    note = "ZeRO was measured to need more than adds up: this is the sum of the parts"
    if load.adapter:
        return round(summed), note
    if load.strategy == "zero3-offload":
        envelope = 5.5 * GIB + 1.41 * weights + 1.12 * activations
    else:
        envelope = 4.4 * GIB + 2.84 * weights + 1.215 * activations
    note = (
        "ZeRO was measured to need more than adds up: this is the larger of the sum of the parts "
        f"({in_gib(summed)}) and of a fit to figures of DeepSpeed ({in_gib(envelope)})"
    )
    return round(max(summed, envelope)), note


def block_parameters(transformer: Transformer) -> int:
    """Parameters of one block's linear layers."""
    return sum(
        module.parameters
        for module in modules(evolve(transformer, num_layers=1))
        if module.name.startswith("transformer_blocks.")
    )


def encode_bytes(
    vae: Vae, frames: int, height: int, width_px: int, *, tiled: bool, width: int = 2
) -> int:
    """What the VAE holds while it encodes one clip, over its weights, for `width` bytes a number.

    Facts 4: tiled 1.63 GiB at 49x480x720 and 2.03 at 81x768x1360, which is 1.55 for a tile of
    240x360 and the clip itself; untiled 6.23 and 22.8.
    """
    clip = 3 * frames * height * width_px * 2
    if tiled:
        inside = 1.55 * GIB * _tile_share(height, width_px) + clip
    else:
        inside = _by_area(height * width_px, 6.23, 22.8) * GIB
    return round(inside * _width_share(vae) * width / 2)


def decode_bytes(
    vae: Vae, frames: int, height: int, width_px: int, *, tiled: bool, width: int = 2
) -> int:
    """What the VAE holds while it decodes one sample, over its weights.

    Facts 4: tiled 3.77 GiB at 49x480x720 and 4.17 at 81x768x1360. Untiled was not measured: the
    same multiple of tiled as in encoding.
    """
    clip = 3 * frames * height * width_px * 2
    inside = 3.68 * GIB * _tile_share(height, width_px) + clip
    if not tiled:
        inside *= max(1.0, _by_area(height * width_px, 6.23, 22.8) / 1.63)
    return round(inside * _width_share(vae) * width / 2)


def _by_area(pixels: int, at_480x720: float, at_768x1360: float) -> float:
    """GiB at a frame of so many pixels, on the line through two known sizes and the origin."""
    small, large = 480 * 720, 768 * 1360
    if pixels <= small:
        return at_480x720 * pixels / small
    return at_480x720 + (at_768x1360 - at_480x720) * (pixels - small) / (large - small)


def _tile_share(height: int, width_px: int) -> float:
    return min(height, _TILE_HEIGHT) * min(width_px, _TILE_WIDTH) / (_TILE_HEIGHT * _TILE_WIDTH)


def _width_share(vae: Vae) -> float:
    """How wide the VAE is, beside the one that was measured; activations follow its first width."""
    return vae.block_out_channels[0] / 128


def _vae_parameters(vae: Vae) -> float:
    """Parameters of the VAE, by the squares of its widths; exact for every CogVideoX."""
    measured = sum(width**2 for width in Vae().block_out_channels)
    return _VAE_PARAMETERS * sum(width**2 for width in vae.block_out_channels) / measured


def in_gib(size: float) -> str:
    """A number of bytes for a person: `20.5 GiB`, `3.1 MiB`."""
    if size >= 0.1 * GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / 2**20:.1f} MiB"


def render_estimate(estimate: MemoryEstimate) -> str:
    """The estimate as lines of text, the largest phase marked."""
    name = max(len(phase.name) for phase in estimate.phases)
    lines = [
        f"{phase.name.replace('_', ' '):<{name}}  {in_gib(phase.bytes):>9}  {phase.of}"
        f"{'  <- peak' if phase.bytes == estimate.peak else ''}"
        for phase in estimate.phases
    ]
    return "\n".join((*lines, f"({estimate.note}; the CUDA context comes on top)"))
