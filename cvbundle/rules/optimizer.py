"""Rules about the optimizer."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import Optimizer
from cvbundle.spec.tables.optimizers import WITH_THIRD_BETA


@rule(
    "optimizer-missing",
    Severity.ERROR,
    why="Training with a substitute would be another experiment.",
    source="zai-org/CogVideo finetune/utils/optimizer_utils.py falls back to AdamW; executed",
    reads=("optimizer.name",),
    good={"optimizer.name": "adamw"},
    bad={"optimizer.name": "came"},
)
def optimizer_missing(subject: Subject) -> Iterator[Finding]:
    """The optimizer's package is installed."""
    kind = subject.spec.optimizer.kind
    package = kind.distribution
    if package is not None and not is_installed(package):
        yield Finding(
            "optimizer.name",
            f"{kind.name} needs the package {package}, which is not installed",
            f"pip install {package}, or write adamw",
        )


def is_installed(package: str) -> bool:
    """Whether a distribution of this name is installed; it is not imported."""
    # Slow to import, and only needed for these optimizers.
    from importlib import metadata

    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@rule(
    "optimizer-betas",
    Severity.ERROR,
    why="There are two moments; the optimizer would fail at its first step, after all clips were "
    "encoded.",
    source="torch optim/adamw.py: beta1, beta2 = group['betas']",
    reads=("optimizer.betas[]",),
    good={"optimizer.betas": [0.9, 0.999]},
    bad={"optimizer.betas": [0.9, 0.99, 0.999]},
)
def optimizer_betas(subject: Subject) -> Iterator[Finding]:
    """Two betas; the third one of prodigy and came is `optimizer.beta3`."""
    betas = subject.spec.optimizer.betas
    if len(betas) > 2:
        yield Finding.write(
            "optimizer.betas",
            f"{len(betas)} betas for two moments; the third one is optimizer.beta3",
            list(betas[:2]),
        )


@rule(
    "optimizer-unused",
    Severity.WARNING,
    why="The optimizer doesn't have this setting, so it has no effect.",
    source="cvbundle training/optimizers.py; came-pytorch 0.1.3, CAME.py: eps is a pair",
    reads=("optimizer.name", "optimizer.beta3", "optimizer.epsilon"),
    good={"optimizer.name": "adamw", "optimizer.epsilon": 1e-6},
    bad={"optimizer.name": "adamw", "optimizer.beta3": 0.98},
)
def optimizer_unused(subject: Subject) -> Iterator[Finding]:
    """Settings that the optimizer doesn't have are at their defaults."""
    optimizer = subject.spec.optimizer
    if optimizer.beta3 is not None and optimizer.kind.third_beta is None:
        yield Finding(
            "optimizer.beta3",
            f"{optimizer.name} has no third decay rate: it is ignored",
            f"remove it: only {' and '.join(WITH_THIRD_BETA)} have one",
        )
    if optimizer.epsilon != Optimizer().epsilon and not optimizer.kind.takes_epsilon:
        yield Finding(
            "optimizer.epsilon",
            f"{optimizer.name} has its own constants instead of an epsilon: it is ignored",
            "remove it",
        )


@rule(
    "prodigy-learning-rate",
    Severity.WARNING,
    why="prodigy estimates the learning rate and multiplies it by this one: with a rate that "
    "suits adamw, almost nothing is learned.",
    source="prodigyopt 1.1.2, prodigy.py: lr is a factor on the estimated rate (dlr = d * lr), 1.0 "
    "by default",
    reads=("optimizer.name", "training.learning_rate"),
    good={"optimizer.name": "prodigy", "training.learning_rate": 1.0},
    bad={"optimizer.name": "prodigy", "training.learning_rate": 1e-4},
)
def prodigy_learning_rate(subject: Subject) -> Iterator[Finding]:
    """prodigy gets a learning rate near 1."""
    rate = subject.spec.training.learning_rate
    if subject.spec.optimizer.kind.finds_rate and rate <= _LEAST_FOR_PRODIGY:
        yield Finding.write(
            "training.learning_rate",
            f"{subject.spec.optimizer.name} multiplies the rate that it estimates by {rate:g}",
            1.0,
            otherwise="optimizer.name",
        )


_LEAST_FOR_PRODIGY = 0.1
"""Learning rates of other optimizers are far below; factors for prodigy are around 1."""
