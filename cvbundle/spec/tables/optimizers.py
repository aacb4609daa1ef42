"""The table of optimizers that a spec can name.

A new optimizer is a row here and its distribution in pyproject.toml.
"""

from collections.abc import Mapping
from typing import Literal

from attrs import frozen


@frozen(kw_only=True)
class OptimizerKind:
    """An optimizer: where it comes from, its state and its parameters."""

    name: str
    constructor: str
    """`module:class`, called with parameters, lr, weight_decay and betas."""
    distribution: str | None = None
    """The package that contains it; None for torch's own."""
    state_bytes: int
    """Bytes of state per trained parameter."""
    shardable: bool = False
    """Whether it works on a shard of a weight: FSDP2 gives each process some of its rows."""
    takes_epsilon: bool = True
    third_beta: Literal["beta3", "betas"] | None = None
    """How a third decay rate is passed: as the argument `beta3`, or as the third of `betas`."""
    third_beta_default: float | None = None
    """The third decay rate if the spec doesn't set one."""
    fused: bool = False
    """Whether torch has a fused kernel for it."""
    quantized: bool = False
    """Whether its state has 8 bits, which needs native code that a device may lack."""
    lighter: str | None = None
    """The same optimizer with a smaller state."""
    finds_rate: bool = False
    """Whether it estimates the learning rate itself, so that the spec's is a factor on it."""


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

WITH_THIRD_BETA = tuple(kind.name for kind in OPTIMIZERS.values() if kind.third_beta)
