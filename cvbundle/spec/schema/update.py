"""`lora`, `optimizer` and `lr_scheduler`: which weights are updated, and how."""

from typing import Literal

from attrs import field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import (
    AT_LEAST_ONE,
    NOT_EMPTY,
    NOT_NEGATIVE,
    POSITIVE,
    Choice,
    Items,
    Length,
    Range,
)
from cvbundle.spec.tables.optimizers import OPTIMIZERS, WITH_THIRD_BETA, OptimizerKind

_DECAY = Range(at_least=0.0, less_than=1.0)

SchedulerName = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
]


@frozen(kw_only=True)
class Lora:
    """The adapter; only with `training.type: lora`."""

    rank: int = field(
        default=128,
        validator=AT_LEAST_ONE,
        metadata=about("Rank of the update.", 128, elsewhere=("dim", "network_dim", "r")),
    )
    alpha: float = field(
        default=64.0,
        validator=POSITIVE,
        metadata=about("The update is scaled by alpha / rank.", 64, elsewhere=("network_alpha",)),
    )
    target_modules: tuple[str, ...] = field(
        default=("to_q", "to_k", "to_v", "to_out.0"),
        validator=Items(length=NOT_EMPTY, each=NOT_EMPTY),
        metadata=about(
            "Modules that get an adapter, by the ends of their names, as peft matches them.",
            ["to_q", "to_k", "to_v", "to_out.0"],
            elsewhere=("target_module", "targets"),
        ),
    )
    dropout: float = field(
        default=0.0,
        validator=_DECAY,
        metadata=about("Dropout on the adapter's input.", 0.0),
    )
    rslora: bool = field(
        default=False,
        metadata=about(
            "Scale by alpha / sqrt(rank) instead (arXiv 2312.03732).",
            False,
            elsewhere=("use_rslora",),
        ),
    )


@frozen(kw_only=True)
class Optimizer:
    """The optimizer, and never a substitute."""

    name: str = field(
        default="adamw",
        validator=Choice(tuple(OPTIMIZERS)),
        metadata=about("Which optimizer.", "adamw", elsewhere=("optimizer_type",)),
    )
    betas: tuple[float, ...] = field(
        default=(0.9, 0.95),
        validator=Items(length=Length(at_least=2), each=_DECAY),
        metadata=about(
            "Decay rates of the two moments.",
            [0.9, 0.95],
            parts=("adam_beta1", "adam_beta2", "beta1", "beta2"),
        ),
    )
    epsilon: float = field(
        default=1e-8,
        validator=POSITIVE,
        metadata=about("Added to the denominator.", 1e-8, elsewhere=("adam_epsilon", "eps")),
    )
    weight_decay: float = field(
        default=1e-4,
        validator=NOT_NEGATIVE,
        metadata=about("Weight decay.", 1e-4, elsewhere=("adam_weight_decay", "wd")),
    )
    beta3: float | None = field(
        default=None,
        validator=_DECAY,
        metadata=about(
            f"Third decay rate of {' and '.join(WITH_THIRD_BETA)}; null means the optimizer's own.",
            None,
            elsewhere=("prodigy_beta3",),
        ),
    )

    @property
    def kind(self) -> OptimizerKind:
        """The row of the table of optimizers."""
        return OPTIMIZERS[self.name]


@frozen(kw_only=True)
class LrScheduler:
    """The learning rate over the run."""

    name: SchedulerName = field(
        default="constant_with_warmup",
        metadata=about(
            "The schedule, by its name in diffusers.", "cosine", elsewhere=("lr_scheduler_type",)
        ),
    )
    warmup_steps: int = field(
        default=100,
        validator=NOT_NEGATIVE,
        metadata=about(
            "Optimizer steps of linear warmup.",
            100,
            elsewhere=("lr_warmup_steps", "num_warmup_steps", "warmup"),
        ),
    )
    num_cycles: int = field(
        default=1,
        validator=AT_LEAST_ONE,
        metadata=about("Restarts of `cosine_with_restarts`.", 1, elsewhere=("lr_num_cycles",)),
    )
    power: float = field(
        default=1.0,
        validator=POSITIVE,
        metadata=about("Exponent of `polynomial`.", 1.0, elsewhere=("lr_power",)),
    )
