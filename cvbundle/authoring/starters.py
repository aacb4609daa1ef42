"""Starter specs: one for each model, each type of training, and each sensible strategy."""

import difflib
from typing import get_args

from attrs import frozen

from cvbundle.files.templates import render
from cvbundle.problems import UserError
from cvbundle.spec.schema import ModelName, TrainingType
from cvbundle.spec.strategies import STRATEGIES

_FITS_ONE_GPU = tuple(kind.name for kind in STRATEGIES.values() if not kind.shards)
_SHARED = ("zero2", "zero2-offload", "zero3", "zero3-offload", "fsdp")
"""The most common one first."""
DEFAULT = "cogvideox-2b-lora"


@frozen
class Starter:
    """One starter spec; its model and type select the template, which the strategy is put into."""

    model: ModelName
    type: TrainingType
    strategy: str
    is_default: bool
    """Whether the name doesn't include the strategy."""

    @property
    def source(self) -> str:
        """The template's name, which is also that of the starter with the default strategy."""
        return f"{self.model}-{self.type}"

    @property
    def name(self) -> str:
        """The name for `init --template`."""
        return self.source if self.is_default else f"{self.source}-{self.strategy}"


def all_starters() -> tuple[Starter, ...]:
    """Every starter, each model's default strategy first."""
    return tuple(
        Starter(model, type_, strategy, is_default=index == 0)
        for model in get_args(ModelName)
        if model != "custom"
        for type_ in get_args(TrainingType)
        for index, strategy in enumerate(_strategies(model, type_))
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
    return render(f"{starter.source}.yaml", name=starter.name, strategy=starter.strategy)


def _strategies(model: str, type_: str) -> tuple[str, ...]:
    """The strategies worth starting from, the default first.

    The AdamW state of all weights of a 5B model is 83 GiB in fp32: no single GPU holds it with the
    activations, so full fine-tuning of one shards or offloads.
    """
    if type_ == "lora":
        return _FITS_ONE_GPU
    if model == "cogvideox-2b":
        return (*_FITS_ONE_GPU, *_SHARED)
    return _SHARED
