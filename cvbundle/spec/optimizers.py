"""The optimizers that a spec can name: one row each, read by whoever has to know one apart.

A new one is a row here and its distribution in pyproject.toml.
"""

from collections.abc import Mapping
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class OptimizerKind:
    """An optimizer, what it keeps and what it takes."""

    name: str
    constructor: str
    """`module:class`, called with parameters, lr, weight_decay and betas."""
    distribution: str | None = None
    """What brings it; None where torch does."""
    state_bytes: int
    """Of its state, for each trained parameter."""
    shardable: bool = False
    """Whether it works on parts of a weight: FSDP2 gives each process rows of it."""
    takes_epsilon: bool = True
    third_beta: Literal["beta3", "betas"] | None = None
    """Where a third decay rate goes: an argument of its own, or behind the other two."""
    third_beta_default: float | None = None
    """What stands there where the spec gives none."""
    fused: bool = False
    """Whether torch has one kernel for its whole step."""
    quantized: bool = False
    """Whether its state is held in 8 bits, by code for the device that may be missing."""
    lighter: str | None = None
    """The same optimizer with a smaller state."""
    finds_rate: bool = False
    """Whether the learning rate is a factor on one that it finds itself."""


def _table(*kinds: OptimizerKind) -> Mapping[str, OptimizerKind]:
    return {kind.name: kind for kind in kinds}


OPTIMIZERS = _table(
    OptimizerKind(
        name="adamw",
        constructor="torch.optim:AdamW",
        state_bytes=8,  # two moments in fp32
        shardable=True,
        fused=True,
        lighter="adamw8bit",
    ),
    OptimizerKind(
        name="adam",
        constructor="torch.optim:Adam",
        state_bytes=8,
        shardable=True,
        fused=True,
        lighter="adamw8bit",
    ),
    OptimizerKind(
        name="adamw8bit",
        constructor="bitsandbytes.optim:AdamW8bit",
        distribution="bitsandbytes",
        state_bytes=2,  # two moments of a byte each
        quantized=True,
    ),
    OptimizerKind(
        name="prodigy",
        constructor="prodigyopt:Prodigy",
        distribution="prodigyopt",
        state_bytes=16,  # two moments, the first weights, the running s
        third_beta="beta3",
        lighter="adamw8bit",
        finds_rate=True,
    ),
    OptimizerKind(
        name="came",
        constructor="came_pytorch:CAME",
        distribution="came-pytorch",
        state_bytes=4,  # one full moment; the others are factored
        takes_epsilon=False,  # it has two of its own, 1e-30 and 1e-16
        third_beta="betas",
        third_beta_default=0.9999,
    ),
)
