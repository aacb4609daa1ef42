"""The table of strategies for distributing a run over processes."""

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


def _table(*kinds: StrategyKind) -> Mapping[str, StrategyKind]:
    return {kind.name: kind for kind in kinds}


STRATEGIES = _table(
    StrategyKind(name="single", several=False),
    StrategyKind(name="ddp"),
    StrategyKind(name="fsdp", shards=True, reshards=True),
    StrategyKind(name="zero2", shards=True),
    StrategyKind(name="zero2-offload", shards=True, offloads=True),
    StrategyKind(name="zero3", shards=True, reshards=True),
    StrategyKind(name="zero3-offload", shards=True, reshards=True, offloads=True),
)
