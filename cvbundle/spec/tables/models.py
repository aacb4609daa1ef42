"""The table of CogVideoX models, from their model cards and config files.

A new model is a row here. Sources: diffusers scripts/convert_cogvideox_to_diffusers.py and the
zai-org/CogVideo README (189-258) as of 2026-11.
"""

from collections.abc import Mapping
from typing import Literal

from attrs import evolve, frozen

from cvbundle.spec.resolution import Resolution
from cvbundle.spec.tables.architecture import (
    Architecture,
    Scheduler,
    Task,
    TextEncoder,
    Transformer,
    Vae,
)

License = Literal["Apache-2.0", "CogVideoX LICENSE"]
Precision = Literal["no", "fp16", "bf16"]

CUSTOM = "custom"
"""The name of a model that has no row: its config files alone describe it."""
DEFAULT_MODEL = "cogvideox-2b"
"""The smallest, which a demo and a starter spec are for if none is named."""


@frozen
class Revision:
    """A commit of a hub repository, or its first hex digits if no more are known."""

    commit: str
    sample: tuple[int, int] | None = None
    """`sample_height` and `sample_width` of its transformer, if they differ between commits."""
    note: str = ""
    """How it differs from earlier commits."""

    def is_commit(self, revision: str | None) -> bool:
        """Whether a revision is this commit, in full."""
        return revision is not None and len(revision) == 40 and revision.startswith(self.commit)


@frozen(kw_only=True)
class Reported:
    """Memory of one GPU that zai-org/CogVideo reports for a training (finetune/README.md:14-31)."""

    type: Literal["lora", "sft"]
    strategy: str
    gib: int
    note: str = ""


@frozen(kw_only=True)
class Card:
    """What a model was trained on, beyond its config files."""

    name: str
    title: str
    hub_ids: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    """Its names in other trainers' configs, some of which mean several models."""
    architecture: Architecture
    precision: Precision
    """The precision that it was trained in and is stable in."""
    resolution: Resolution
    """Its native frames, height and width."""
    max_frames: int
    """Frames of the longest clip that it was trained on."""
    frame_step: int
    """It was trained on `frame_step` * n + 1 frames."""
    fps: int
    prompt_tokens: int
    """The longest prompt; the sequence is still padded to `max_text_seq_length`."""
    license: License
    terms: str
    any_aspect: bool = False
    """Whether it was also trained on shorter long sides than that of `resolution`, and portrait."""
    one_size: bool = False
    """Whether another size is an error unless the spec allows it, and not only a warning."""
    revisions: tuple[Revision, ...] = ()
    """Known commits, newest first."""
    reported: tuple[Reported, ...] = ()

    @property
    def task(self) -> Task:
        """What it is for."""
        return self.architecture.transformer.task

    def trained_at(self, height: int, width: int) -> bool:
        """Whether the model was trained on frames of this size, in pixels."""
        if not self.any_aspect:
            return (height, width) == (self.resolution.height, self.resolution.width)
        short, long = sorted((height, width))
        return short == self.resolution.height and long <= self.resolution.width

    @property
    def newest_commit(self) -> Revision | None:
        """The newest known revision with all digits of its commit."""
        return next((known for known in self.revisions if len(known.commit) == 40), None)

    def at_revision(self, revision: str | None) -> Architecture:
        """The architecture in the config files of a commit; that of main if it is unknown."""
        match = next((known for known in self.revisions if known.is_commit(revision)), None)
        if match is None or match.sample is None:
            return self.architecture
        height, width = match.sample
        transformer = evolve(
            self.architecture.transformer, sample_height=height, sample_width=width
        )
        return evolve(self.architecture, transformer=transformer)


def _hub(name: str) -> tuple[str, ...]:
    """Both ids of a model: THUDM was renamed to zai-org, and both still resolve."""
    return (f"THUDM/{name}", f"zai-org/{name}")


_APACHE = "Apache-2.0 for the transformer and the VAE."
_OWN = (
    "Free for academic research; commercial use needs registration and is limited to a million "
    "visits a month; no military or illegal use."
)
_T5 = TextEncoder()
_2B = Transformer()
_5B = Transformer(num_layers=42, num_attention_heads=48, use_rotary_positional_embeddings=True)
_5B_I2V = evolve(_5B, in_channels=32, use_learned_positional_embeddings=True)
# Main is 96x170 on the hub, some older commits are 300x300
# (github.com/huggingface/finetrainers/issues/121, github.com/zai-org/CogVideo/issues/758).
_1_5 = evolve(
    _5B, patch_size_t=2, patch_bias=False, sample_height=96, sample_width=170, sample_frames=81
)
_1_5_I2V = evolve(_1_5, in_channels=32, ofs_embed_dim=512)
_VAE_2B = Vae()
_VAE_5B = Vae(scaling_factor=0.7)
_VAE_1_5 = Vae(scaling_factor=0.7, invert_scale_latents=True)


def _architecture(transformer: Transformer, vae: Vae, snr_shift_scale: float) -> Architecture:
    return Architecture(
        transformer=transformer,
        vae=vae,
        text_encoder=_T5,
        scheduler=Scheduler(snr_shift_scale=snr_shift_scale),
    )


def _lora(gib: int) -> Reported:
    return Reported(type="lora", strategy="single", gib=gib, note=" (rank 128)")


def _sft(strategy: str, gib: int) -> Reported:
    by = ", with DeepSpeed" if strategy.startswith("zero") else ""
    return Reported(type="sft", strategy=strategy, gib=gib, note=by)


_REPORTED_5B = (
    _lora(24),
    _sft("zero2", 42),
    _sft("zero2-offload", 42),
    _sft("zero3", 43),
    _sft("zero3-offload", 28),
    _sft("fsdp", 20),
)
_REPORTED_1_5 = (
    _lora(35),
    _sft("zero2", 55),
    _sft("zero2-offload", 56),
    _sft("zero3", 55),
    _sft("zero3-offload", 40),
    _sft("fsdp", 31),
)


def _table(*cards: Card) -> Mapping[str, Card]:
    return {card.name: card for card in cards}


MODELS = _table(
    Card(
        name="cogvideox-2b",
        title="CogVideoX-2B",
        hub_ids=_hub("CogVideoX-2b"),
        elsewhere=("cogvideox-t2v",),
        architecture=_architecture(_2B, _VAE_2B, 3.0),
        precision="fp16",
        resolution=Resolution(49, 480, 720),
        max_frames=49,
        frame_step=8,
        fps=8,
        prompt_tokens=226,
        license="Apache-2.0",
        terms=_APACHE,
        revisions=(
            Revision("1137dac", note="whose VAE is stored in fp32"),
            Revision("3c9d823cba79e879738d89c3e72a8348ff9aa51b"),
        ),
        reported=(
            _lora(16),
            _sft("ddp", 36),
            _sft("zero2", 17),
            _sft("zero2-offload", 17),
            _sft("zero3", 19),
            _sft("zero3-offload", 14),
        ),
    ),
    Card(
        name="cogvideox-5b",
        title="CogVideoX-5B",
        hub_ids=_hub("CogVideoX-5b"),
        elsewhere=("cogvideox-t2v",),
        architecture=_architecture(_5B, _VAE_5B, 1.0),
        precision="bf16",
        resolution=Resolution(49, 480, 720),
        max_frames=49,
        frame_step=8,
        fps=8,
        prompt_tokens=226,
        license="CogVideoX LICENSE",
        terms=_OWN,
        one_size=True,
        revisions=(Revision("8fc5b28"),),
        reported=_REPORTED_5B,
    ),
    Card(
        name="cogvideox-5b-i2v",
        title="CogVideoX-5B-I2V",
        hub_ids=_hub("CogVideoX-5b-I2V"),
        elsewhere=("cogvideox-i2v",),
        architecture=_architecture(_5B_I2V, _VAE_5B, 1.0),
        precision="bf16",
        resolution=Resolution(49, 480, 720),
        max_frames=49,
        frame_step=8,
        fps=8,
        prompt_tokens=226,
        license="CogVideoX LICENSE",
        terms=_OWN,
        revisions=(Revision("567fb6a18b1ae8dbb9fcf29c3ea1f17de05bd9ed"),),
        reported=_REPORTED_5B,
    ),
    Card(
        name="cogvideox1.5-5b",
        title="CogVideoX1.5-5B",
        hub_ids=_hub("CogVideoX1.5-5B"),
        elsewhere=("cogvideox1.5-t2v",),
        architecture=_architecture(_1_5, _VAE_1_5, 1.0),
        precision="bf16",
        resolution=Resolution(81, 768, 1360),
        max_frames=161,
        frame_step=16,
        fps=16,
        prompt_tokens=224,
        license="CogVideoX LICENSE",
        terms=_OWN,
        revisions=(
            Revision("fdc5267", (96, 170)),
            Revision("5cb8a989ab3ca1223b04b42b01a5314cd3825f32"),
        ),
        reported=_REPORTED_1_5,
    ),
    Card(
        name="cogvideox1.5-5b-i2v",
        title="CogVideoX1.5-5B-I2V",
        hub_ids=_hub("CogVideoX1.5-5B-I2V"),
        elsewhere=("cogvideox1.5-i2v",),
        architecture=_architecture(_1_5_I2V, _VAE_1_5, 1.0),
        precision="bf16",
        resolution=Resolution(81, 768, 1360),
        max_frames=161,
        frame_step=16,
        fps=16,
        prompt_tokens=224,
        license="CogVideoX LICENSE",
        terms=_OWN,
        any_aspect=True,
        revisions=(
            Revision("27f3ec31a1db84c0e42960fce258c8f7ff2b23ac", (96, 170)),
            Revision("e724b279e89c204de20b66d8c09317a5d0d1b6f6", (300, 300)),
        ),
        reported=_REPORTED_1_5,
    ),
)
