"""The five CogVideoX models, from their model cards and config files.

Sources: diffusers scripts/convert_cogvideox_to_diffusers.py and the zai-org/CogVideo README
(189-258) as of 2026-11; parameter counts are computed in `architecture` and tested against torch.
"""

from typing import Literal

from attrs import evolve, frozen

from cvbundle.model.architecture import (
    Architecture,
    Scheduler,
    TextEncoder,
    Transformer,
    Vae,
    has_traits_of,
    total_parameters,
)
from cvbundle.spec.nearest import nearest
from cvbundle.spec.schema import ModelName, Precision, Resolution, Task

License = Literal["Apache-2.0", "CogVideoX LICENSE"]


@frozen
class Revision:
    """A commit of a hub repository, or its first hex digits if no more are known."""

    commit: str
    sample: tuple[int, int] | None = None
    """`sample_height` and `sample_width` of its transformer, if they differ between commits."""

    def is_commit(self, revision: str | None) -> bool:
        """Whether a revision is this commit, in full."""
        return revision is not None and len(revision) == 40 and revision.startswith(self.commit)


@frozen(kw_only=True)
class Card:
    """What a model was trained on, beyond its config files."""

    name: ModelName
    hub_ids: tuple[str, ...]
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
    revisions: tuple[Revision, ...] = ()
    """Known commits, newest first."""

    @property
    def parameters(self) -> int:
        """Parameters of the transformer."""
        return total_parameters(self.architecture.transformer)

    def trained_at(self, height: int, width: int) -> bool:
        """Whether the model was trained on frames of this size, in pixels."""
        if not self.any_aspect:
            return (height, width) == (self.resolution.height, self.resolution.width)
        short, long = sorted((height, width))
        return short == self.resolution.height and long <= self.resolution.width

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


CATALOG: tuple[Card, ...] = (
    Card(
        name="cogvideox-2b",
        hub_ids=_hub("CogVideoX-2b"),
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
            Revision("1137dac"),
            Revision("3c9d823cba79e879738d89c3e72a8348ff9aa51b"),
        ),
    ),
    Card(
        name="cogvideox-5b",
        hub_ids=_hub("CogVideoX-5b"),
        architecture=_architecture(_5B, _VAE_5B, 1.0),
        precision="bf16",
        resolution=Resolution(49, 480, 720),
        max_frames=49,
        frame_step=8,
        fps=8,
        prompt_tokens=226,
        license="CogVideoX LICENSE",
        terms=_OWN,
        revisions=(Revision("8fc5b28"),),
    ),
    Card(
        name="cogvideox-5b-i2v",
        hub_ids=_hub("CogVideoX-5b-I2V"),
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
    ),
    Card(
        name="cogvideox1.5-5b",
        hub_ids=_hub("CogVideoX1.5-5B"),
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
    ),
    Card(
        name="cogvideox1.5-5b-i2v",
        hub_ids=_hub("CogVideoX1.5-5B-I2V"),
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
    ),
)


def card(name: str) -> Card | None:
    """The card of a model by its name; None for `custom` and unknown names."""
    return next((card for card in CATALOG if card.name == name), None)


def card_of_hub_id(repository: str) -> Card | None:
    """The card of a model by its hub id, ignoring case."""
    hub_id = repository.lower()
    return next((card for card in CATALOG if hub_id in map(str.lower, card.hub_ids)), None)


def hub_id_like(path: str) -> str | None:
    """The hub id that was probably meant by a URL, a name without an owner, or a misspelt id.

    None for what looks like a folder, and for other owners' models.
    """
    if path.startswith(("/", ".", "~")):
        return None
    address = path.rstrip("/").removeprefix("https://").removeprefix("huggingface.co/")
    owner, _, name = address.rpartition("/")
    ids = {id.rpartition("/")[2].lower(): id for card in CATALOG for id in reversed(card.hub_ids)}
    owners = {id.partition("/")[0].lower() for card in CATALOG for id in card.hub_ids}
    if owner.lower() not in {"", *owners}:
        return None
    prefixes = [known for known in ids if name.lower().startswith(known)]
    near = max(prefixes, key=len, default=None) or nearest(name, ids, cutoff=0.9)
    return ids[near] if near else None


def card_like(architecture: Architecture) -> Card | None:
    """The card of the model with this architecture, apart from depth and width."""
    return next(
        (
            card
            for card in CATALOG
            if has_traits_of(card.architecture.transformer, architecture.transformer)
        ),
        None,
    )


def task_of(transformer: Transformer) -> Task:
    """The task of a model: image to video has the image's latents as additional channels."""
    return "i2v" if transformer.in_channels == 2 * transformer.out_channels else "t2v"
