"""Starter specs: one for each model, each type of training, and each sensible strategy."""

import difflib
from collections.abc import Mapping
from typing import get_args

from attrs import frozen

from cvbundle.files.templates import render
from cvbundle.model.memory import in_gib
from cvbundle.model.modules import total_parameters
from cvbundle.problems import UserError
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import DEFAULT_MODEL, MODELS, Card
from cvbundle.spec.tables.optimizers import OPTIMIZERS
from cvbundle.spec.tables.strategies import STRATEGIES

_FITS_ONE_GPU = tuple(kind.name for kind in STRATEGIES.values() if not kind.shards)
_SHARDED = tuple(kind.name for kind in STRATEGIES.values() if kind.shards)
_GPU_GIB = (16, 24, 40, 48, 80)
"""Common sizes of a GPU's memory."""
_WEIGHT_BYTES = 4
"""Of a trained weight, which is in fp32, as its gradient is."""
DEFAULT = f"{DEFAULT_MODEL}-lora"


@frozen
class Starter:
    """One starter spec."""

    model: str
    type: TrainingType
    strategy: str
    is_default: bool
    """Whether the name doesn't include the strategy."""

    @property
    def source(self) -> str:
        """The name of the starter of this model and type with the default strategy."""
        return f"{self.model}-{self.type}"

    @property
    def name(self) -> str:
        """The name for `init --template`."""
        return self.source if self.is_default else f"{self.source}-{self.strategy}"


def all_starters() -> tuple[Starter, ...]:
    """Every starter, each model's default strategy first."""
    return tuple(
        Starter(model, type_, strategy, is_default=index == 0)
        for model in MODELS
        for type_ in get_args(TrainingType)
        for index, strategy in enumerate(_strategies(MODELS[model], type_))
    )


def find_starter(name: str) -> Starter:
    """The starter of a name; that of the default strategy may include it.

    Raises:
        UserError: there is no such starter; the message lists all.
    """
    starters = {starter.name: starter for starter in all_starters()}
    starters |= {f"{s.source}-{s.strategy}": s for s in all_starters()}
    if name in starters:
        return starters[name]
    near = difflib.get_close_matches(name[:100], starters, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise UserError(f"{name} is not a template{meant}; there are:\n{overview()}")


def overview() -> str:
    """All names: a line for each model and type, with its strategies."""
    lines: dict[str, list[str]] = {}
    for starter in all_starters():
        lines.setdefault(starter.source, []).append(starter.strategy)
    return "\n".join(
        f"  {source}  ({first}), or with -{', -'.join(others)}"
        for source, (first, *others) in lines.items()
    )


def starter_text(starter: Starter) -> str:
    """The text of a starter spec."""
    card, strategy = MODELS[starter.model], STRATEGIES[starter.strategy]
    host = in_gib(_train_state_bytes(card))
    note = strategy.note
    if strategy.offloads:
        note = f"{note} Host memory: {host} for all processes together."
    return render(
        "starter.yaml",
        name=starter.name,
        type=starter.type,
        card=card,
        strategy=strategy,
        strategy_note=note,
        resolution_note=_resolution_note(card),
        checkpoint=in_gib(_checkpoint_bytes(card)),
        **_revision(card),
        **_reported(card, starter),
    )


def _strategies(card: Card, type_: str) -> tuple[str, ...]:
    """The strategies worth starting from, the default first.

    Weights, gradients and AdamW state of a 5B model are 83 GiB in fp32: no common GPU has room for
    them, so full fine-tuning of one shards or offloads.
    """
    if type_ == "lora":
        return _FITS_ONE_GPU
    if _train_state_bytes(card) < max(_GPU_GIB) << 30:
        return (*_FITS_ONE_GPU, *_SHARDED)
    return _SHARDED


def _train_state_bytes(card: Card) -> int:
    """Weights, gradients and AdamW state, all in fp32."""
    return _checkpoint_bytes(card) + _WEIGHT_BYTES * total_parameters(card.architecture.transformer)


def _checkpoint_bytes(card: Card) -> int:
    each = _WEIGHT_BYTES + OPTIMIZERS["adamw"].state_bytes
    return each * total_parameters(card.architecture.transformer)


def _revision(card: Card) -> Mapping[str, str]:
    commit = card.newest_commit
    if commit is None:
        return {
            "revision": "main",
            "revision_note": "A branch is resolved to its commit when compiled. Write the commit "
            "of your download here, and no network is needed.",
        }
    note = "A full commit needs no network to check."
    newest = card.revisions[0]
    if commit != newest:
        about = f", {newest.note}" if newest.note else ""
        note += f" This one is older than main ({newest.commit}{about})."
    return {"revision": commit.commit, "revision_note": note}


def _resolution_note(card: Card) -> str:
    """What a user may write as the resolution, by what the model was trained on."""
    size = card.resolution
    note = "Frames x height x width: "
    if card.architecture.transformer.use_learned_positional_embeddings:
        return f"{note}this model's learned positions allow no other size."
    seconds = f"{size.frames // card.fps} seconds at {card.fps} frames per second"
    if card.any_aspect:
        note += (
            f"{seconds}. The smaller side is {size.height}, the larger one {size.height} to "
            f"{size.width} in steps of {card.architecture.pixels_per_patch}."
        )
    elif card.one_size:
        note += f"{size.height}x{size.width} is all that the model was trained on, {seconds}."
    else:
        note += f"what the model was trained on, {seconds}."
    half = size.frames // 16 * 8 + 1
    fewer = f"8n + 1 of them, like {half} or {half + 8}"
    return f"{note} Fewer frames take less memory and time: {fewer}."


def _reported(card: Card, starter: Starter) -> Mapping[str, object]:
    """What upstream reports for this training, and a GPU that has room for all of its type."""
    of_type = [row for row in card.reported if row.type == starter.type]
    largest = max((row.gib for row in of_type), default=None)
    return {
        "reported": next((row for row in of_type if row.strategy == starter.strategy), None),
        "gpu_gib": None
        if largest is None
        else next((gib for gib in _GPU_GIB if gib >= largest), _GPU_GIB[-1]),
    }
