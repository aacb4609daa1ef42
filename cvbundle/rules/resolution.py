"""Rules about the size of a frame."""

from collections.abc import Iterator

from cvbundle.model.identify import BaseModel
from cvbundle.problems import Severity
from cvbundle.rules.legal import nearest_legal
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import Resolution

_FIELD = "data.resolution"


@rule(
    "resolution-multiple",
    Severity.ERROR,
    why="Height and width are compressed by the VAE and split into patches; a remainder is dropped "
    "silently or fails in the first step.",
    source="diffusers pipeline_cogvideox.py check_inputs, cogvideox_transformer_3d.py; executed",
    reads=(_FIELD,),
    needs_model=True,
    good={_FIELD: "49x480x720"},
    bad={_FIELD: "49x480x728"},
)
def resolution_multiple(subject: Subject) -> Iterator[Finding]:
    """Height and width are multiples of the VAE's factor times the patch size."""
    size = subject.spec.data.resolution
    unit = subject.model.architecture.pixels_per_patch
    wrong = [value for value in (size.height, size.width) if value % unit]
    if wrong:
        yield Finding.write(
            _FIELD,
            f"{' and '.join(map(str, wrong))}: height and width must be multiples of {unit}",
            str(nearest_legal(size, subject.model)),
        )


@rule(
    "resolution-fixed",
    Severity.ERROR,
    why="Learned position embeddings fit only one size; the model raises at any other.",
    source="diffusers embeddings.py, CogVideoXPatchEmbed (750-754); executed",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "49x480x720"},
    bad={"model.path": "THUDM/CogVideoX-5b-I2V", _FIELD: "49x480x704"},
)
def resolution_fixed(subject: Subject) -> Iterator[Finding]:
    """A model with learned positions needs exactly its own height and width."""
    size, own = subject.spec.data.resolution, subject.model.resolution
    if not _has_learned_positions(subject.model):
        return
    if (size.height, size.width) != (own.height, own.width):
        yield Finding.write(
            _FIELD,
            f"{size.height}x{size.width}: this model's learned positions are for exactly "
            f"{own.height}x{own.width}",
            str(nearest_legal(size, subject.model)),
        )


@rule(
    "resolution-5b",
    Severity.WAIVABLE,
    why="The model was trained on only one size. It runs at others, with positions that it was not "
    "trained on.",
    source="zai-org/CogVideo README.md:202; github.com/zai-org/CogVideo/issues/732; "
    "finetune/schemas/args.py:153 intends this check, but compares with names that no model has",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b", _FIELD: "49x480x720"},
    bad={"model.path": "THUDM/CogVideoX-5b", _FIELD: "49x256x384"},
)
def resolution_5b(subject: Subject) -> Iterator[Finding]:
    """A model of one size is trained at its own height and width: cogvideox-5b."""
    size, own = subject.spec.data.resolution, subject.model.resolution
    card = subject.model.card
    if card is None or not card.one_size:
        return
    if (size.height, size.width) != (own.height, own.width):
        yield Finding.write(
            _FIELD,
            f"{size.height}x{size.width}: {card.name} was trained on {own.height}x{own.width}",
            str(nearest_legal(size, subject.model)),
        )


@rule(
    "resolution-grid",
    Severity.ERROR,
    why="The 1.5 models slice rotary positions from a table of their sample size: with a taller or "
    "wider patch grid, such as portrait, training works but every pipeline fails.",
    source="diffusers pipeline_cogvideox.py, _prepare_rotary_positional_embeddings ('slice'); "
    "executed",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX1.5-5B", _FIELD: "81x768x1360"},
    bad={"model.path": "THUDM/CogVideoX1.5-5B", _FIELD: "81x1360x768"},
)
def resolution_grid(subject: Subject) -> Iterator[Finding]:
    """The patch grid fits the table of rotary positions."""
    limit = subject.model.architecture.grid_limit
    if limit is None:
        return
    size = subject.spec.data.resolution
    unit = subject.model.architecture.pixels_per_patch
    highest, widest = limit[0] * unit, limit[1] * unit
    if size.height > highest or size.width > widest:
        yield Finding.write(
            _FIELD,
            f"{size.height}x{size.width}: this model's positions end at height {highest} and width "
            f"{widest}",
            str(nearest_legal(size, subject.model)),
        )


@rule(
    "resolution-untrained",
    Severity.WARNING,
    why="The model runs at this size, but wasn't trained on it.",
    source="zai-org/CogVideo README.md:189-258; github.com/zai-org/CogVideo/issues/732",
    reads=(_FIELD,),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX1.5-5B-I2V", _FIELD: "81x768x1024"},
    bad={"model.path": "THUDM/CogVideoX-2b", _FIELD: "49x256x384"},
)
def resolution_untrained(subject: Subject) -> Iterator[Finding]:
    """2b and 1.5 are trained at the sizes of their model cards; smaller variants at their own."""
    card = subject.model.card
    size, own = subject.spec.data.resolution, subject.model.resolution
    if card is None or card.one_size or _has_learned_positions(subject.model):
        return
    legal = nearest_legal(size, subject.model)
    if (legal.height, legal.width) != (size.height, size.width):
        return  # already reported as an error
    same_size = (own.height, own.width) == (card.resolution.height, card.resolution.width)
    if (size.height, size.width) == (own.height, own.width):
        return
    if not (same_size and card.trained_at(size.height, size.width)):
        sizes = f"{own.height}x{own.width}"
        if same_size and card.any_aspect:
            sizes = f"{own.height}x{own.height} to {sizes}"
        yield Finding.write(
            _FIELD,
            f"{size.height}x{size.width}: {card.name} was trained on {sizes}",
            str(Resolution(legal.frames, own.height, own.width)),
        )


def _has_learned_positions(model: BaseModel) -> bool:
    return model.architecture.transformer.use_learned_positional_embeddings
