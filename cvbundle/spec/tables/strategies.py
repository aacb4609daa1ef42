"""The table of strategies for distributing a run over processes.

A new strategy is a row here. Every row that shards is run by FSDP2.
"""

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class StrategyKind:
    """What each process stores, and where.

    ZeRO stage 3 frees a block's weights between its forward and backward passes, stage 2 doesn't
    (Rajbhandari et al., arXiv 1910.02054).
    """

    name: str
    several: bool = True
    """Whether more than one process can train."""
    shards: bool = False
    """Whether the model is split, so that no process stores all of it."""
    reshards: bool = False
    """Whether a block's weights are freed after its forward pass."""
    offloads: bool = False
    """Whether shards and the optimizer are in host memory, and on the device only while used."""
    starter_processes: int = 1
    """The number of processes in a starter spec."""
    note: str = ""
    """What a starter spec says about it."""


def _table(*kinds: StrategyKind) -> Mapping[str, StrategyKind]:
    return {kind.name: kind for kind in kinds}


_SPLIT = "Weights, gradients and optimizer state are split over the processes"
_IN_HOST = "Weights, gradients and optimizer state are in host memory"

STRATEGIES = _table(
    StrategyKind(name="single", several=False),
    StrategyKind(
        name="ddp",
        starter_processes=2,
        note="Each process has the whole model; the global batch grows with their number.",
    ),
    StrategyKind(
        name="zero2",
        shards=True,
        starter_processes=8,
        note=f"{_SPLIT}; the weights that a step computes with stay in 16 bit from its forward to "
        "its backward.",
    ),
    StrategyKind(
        name="zero2-offload",
        shards=True,
        offloads=True,
        note=f"{_IN_HOST}; the weights that a step computes with are on the GPU in 16 bit.",
    ),
    StrategyKind(
        name="zero3",
        shards=True,
        reshards=True,
        starter_processes=8,
        note=f"{_SPLIT}. The same as fsdp.",
    ),
    StrategyKind(
        name="zero3-offload",
        shards=True,
        reshards=True,
        offloads=True,
        note=f"{_IN_HOST}. The least GPU memory, and the slowest.",
    ),
    StrategyKind(
        name="fsdp",
        shards=True,
        reshards=True,
        starter_processes=8,
        note=f"{_SPLIT}, by PyTorch's FSDP2.",
    ),
)
