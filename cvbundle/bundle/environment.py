"""The packages that a bundle's training imports: locked when compiled, compared when run."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from attrs import frozen

from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_DISTRIBUTIONS = {"PIL": "pillow", "attr": "attrs", "yaml": "pyyaml"}
"""Where a package's name isn't that of what is installed."""

_OPTIMIZERS = {
    "adamw8bit": ("bitsandbytes", "bitsandbytes"),
    "prodigy": ("prodigyopt", "prodigyopt"),
    "came": ("came_pytorch", "came-pytorch"),
}
"""Optimizer to the package it is in and the distribution that brings it."""

_TRACKERS = {"comet_ml": "comet-ml"}

_BEHIND = ("huggingface_hub", "safetensors", "sentencepiece", "tokenizers")
"""Not imported by the trainer itself, but what it imports decides results with them."""

_HEAD = "# Exact versions of what this bundle's training imports: pip install -r requirements.txt\n"


@frozen
class Drift:
    """A package that is not what the lock says."""

    package: str
    locked: str
    installed: str | None

    def __str__(self) -> str:
        return f"{self.package}: {self.installed or 'not installed'} instead of {self.locked}"


def needed_distributions(packages: Iterable[str], spec: Spec) -> tuple[str, ...]:
    """The distributions to lock for a spec, given the packages that the code may import."""
    optional = {package for package, _ in _OPTIMIZERS.values()}
    names = {
        _DISTRIBUTIONS.get(package, package) for package in packages if package not in optional
    }
    names.update(_BEHIND)
    names.update(_TRACKERS.get(tracker, tracker) for tracker in spec.tracking.report_to)
    if spec.optimizer.name in _OPTIMIZERS:
        names.add(_OPTIMIZERS[spec.optimizer.name][1])
    return tuple(sorted(names))


def lock(distributions: Iterable[str]) -> str:
    """`requirements.txt`: the installed versions, without local parts such as `+cpu`.

    Raises:
        UserError: some are not installed; names them all.
    """
    found = {name: installed_version(name) for name in distributions}
    missing = [name for name, installed in found.items() if installed is None]
    if missing:
        raise UserError(
            f"not installed, so it can't be locked: {', '.join(missing)}: "
            f"pip install {' '.join(missing)}"
        )
    return _HEAD + "".join(f"{name}=={installed}\n" for name, installed in sorted(found.items()))


def installed_version(distribution: str) -> str | None:
    """The public version of an installed distribution."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return None


def drift(requirements: str, folders: Iterable[Path] | None = None) -> tuple[Drift, ...]:
    """Where what is installed differs from a lock: here, or in the folders of packages given."""
    there = None if folders is None else _versions_in(folders)
    return tuple(
        Drift(name, locked, installed)
        for name, locked in locked_versions(requirements).items()
        if (installed := installed_version(name) if there is None else there.get(_plain(name)))
        != locked
    )


def _versions_in(folders: Iterable[Path]) -> dict[str, str]:
    """The public version of everything that is installed in some folders, by plain name."""
    found = distributions(path=[str(folder) for folder in folders])
    return {_plain(each.name): each.version.partition("+")[0] for each in found}


def _plain(name: str) -> str:
    """A distribution's name as all its spellings are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions(requirements: str) -> Mapping[str, str]:
    """The versions that a lock names."""
    lines = (line.strip() for line in requirements.splitlines())
    pairs = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {name: locked for name, _, locked in pairs}
