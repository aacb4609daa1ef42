"""What the optimizer needs."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule

_PACKAGES = {"adamw8bit": "bitsandbytes", "prodigy": "prodigyopt", "came": "came-pytorch"}
"""Optimizers that torch doesn't have, and the package of each."""


@rule(
    "optimizer-missing",
    Severity.ERROR,
    why="Another optimizer in its place would be another experiment.",
    source="zai-org/CogVideo finetune/utils/optimizer_utils.py falls back to AdamW; executed",
    reads=("optimizer.name",),
    good={"optimizer.name": "adamw"},
    bad={"optimizer.name": "came"},
)
def optimizer_missing(subject: Subject) -> Iterator[Finding]:
    """The optimizer's package is installed."""
    name = subject.spec.optimizer.name
    package = _PACKAGES.get(name)
    if package is not None and not is_installed(package):
        yield Finding(
            "optimizer.name",
            f"{name} needs the package {package}, which is not installed",
            f"pip install {package}, or write adamw",
        )


def is_installed(package: str) -> bool:
    """Whether a distribution of this name is installed here; imports nothing of it."""
    # Slow to import, and only these optimizers need it.
    from importlib import metadata

    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@rule(
    "optimizer-betas",
    Severity.ERROR,
    why="There are two moments; the optimizer would fail at its first step, after all clips are "
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
            f"{len(betas)} betas for two moments; a third one is optimizer.beta3",
            list(betas[:2]),
        )
