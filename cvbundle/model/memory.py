"""How much memory of a device each phase of a run needs, from sizes alone.

Two figures for each phase: what its tensors take, which `cvbundle rehearse` counts and the tests
hold this against, and what CUDA's allocator reserves for them, which is what has to fit. The CUDA
context and the workspaces of its libraries, about 0.5 to 1 GiB, come on top.
"""

from typing import Literal

from attrs import field, frozen

from cvbundle.model.encoder_memory import (
    decode_bytes,
    embed_bytes,
    encode_bytes,
    text_encoder_bytes,
    vae_bytes,
)
from cvbundle.model.identify import BaseModel
from cvbundle.model.training_load import TrainingLoad, training_load
from cvbundle.model.training_memory import (
    gathered_bytes,
    held_bytes,
    reserved_share,
    step_bytes,
    train_bytes,
)
from cvbundle.spec.schema import Spec

GIB = 2**30

PhaseName = Literal["encode_text", "encode_clips", "train", "step", "validate"]

_DENOISE = 18
"""U of one sample that a forward pass without gradients holds; guidance makes two samples of it."""


@frozen(kw_only=True)
class Phase:
    """One phase of a run: nothing of it is held when the next one begins, but for the weights."""

    name: PhaseName
    allocated: int
    """What its tensors take at the peak, in bytes."""
    bytes: int
    """What the allocator reserves for them."""
    of: str
    """What the largest parts are."""


@frozen
class MemoryEstimate:
    """What a device needs in each phase; a run needs the largest of them."""

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
    vae, size, tiled = architecture.vae, spec.data.resolution, spec.data.vae_tiling
    load = training_load(spec, architecture)
    width = load.weight_bytes
    clip = size.frames, size.height, size.width
    text = text_encoder_bytes(
        architecture.text_encoder, width, half=spec.training.mixed_precision == "fp16"
    )
    text += embed_bytes(
        architecture.text_encoder, architecture.transformer.max_text_seq_length, width
    )
    encoder = vae_bytes(vae, width, decoder=False)
    encoding = encoder + encode_bytes(vae, *clip, tiled=tiled, width=width)
    # Noise on the image is new at each visit, so that it has to be encoded each time.
    kept = encoder if spec.model.type == "i2v" and spec.training.image_noise is not None else 0
    step = kept + step_bytes(load)
    phases = [
        _phase("encode_text", text, "text encoder"),
        _phase("encode_clips", encoding, "VAE and what it holds of one clip"),
        _phase(
            "train",
            kept + train_bytes(load),
            "weights, gradients, optimizer, activations",
            reserved=kept + train_bytes(load, reserved=reserved_share(load)),
        ),
        _phase("step", step, "weights, gradients, optimizer"),
    ]
    if spec.validation is not None:
        decoder = vae_bytes(vae, width, decoder=True)
        decoding = decode_bytes(vae, *clip, tiled=tiled, width=width)
        # FSDP2 frees what the last forward pass gathered only if it reshards.
        whole = 0.0 if load.strategy.reshards else gathered_bytes(load)
        shown = round(max(gathered_bytes(load) + denoise_bytes(load), whole + decoding))
        shown += kept + held_bytes(load) + decoder
        shown += round(load.gradients) if load.buckets else 0
        phases.append(_phase("validate", shown, "weights, optimizer, VAE and one sample"))
    note = (
        "FSDP's figures come from sums of parts"
        if load.strategy.shards
        else ("published figures are within 10 % of this")
    )
    return MemoryEstimate(tuple(phases), note)


def _phase(name: PhaseName, allocated: int, of: str, *, reserved: int | None = None) -> Phase:
    return Phase(
        name=name,
        allocated=allocated,
        bytes=allocated if reserved is None else reserved,
        of=of,
    )


def denoise_bytes(load: TrainingLoad) -> int:
    """One denoising step with guidance: two samples, and what autocast copies of the weights."""
    copies = 2 * load.trainable if load.casts else 0
    return round(copies + 2 * _DENOISE * load.unit / load.batch)


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
