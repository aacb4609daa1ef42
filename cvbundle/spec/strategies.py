"""The ways to spread a run over processes that a spec can name: one row each."""

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class StrategyKind:
    """What each process holds, and where.

    Whether a block's weights are let go between its forward and its backward tells stage 3 of ZeRO
    from stage 2 (Rajbhandari et al., arXiv 1910.02054).
    """

    name: str
    several: bool = True
    """Whether more than one process can train."""
    shards: bool = False
    """Whether no process holds the whole model."""
    reshards: bool = False
    """Whether a block's weights are let go after its forward."""
    offloads: bool = False
    """Whether what a process holds is in host memory between its uses, where the optimizer is."""


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
