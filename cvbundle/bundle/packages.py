"""The packages that training imports: locked when a bundle is compiled, compared when it runs."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.requirements import normalized, requirements_text
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_DISTRIBUTIONS = {"PIL": "pillow", "attr": "attrs", "yaml": "pyyaml"}
"""Import names that differ from the distribution's name."""

_TRACKERS = {"comet_ml": "comet-ml"}

_INDIRECT = ("huggingface_hub", "safetensors", "sentencepiece", "tokenizers")
"""Imported by what the trainer imports, where they can change a result."""


@frozen
class Drift:
    """A package whose version isn't the locked one."""

    package: str
    locked: str | None
    """None for a package that should not be there."""
    installed: str | None

    def __str__(self) -> str:
        installed = self.installed or "not installed"
        return f"{self.package}: {installed} instead of {self.locked or 'nothing'}"


def needed_distributions(packages: Iterable[str], spec: Spec) -> tuple[str, ...]:
    """The distributions to lock for a spec, given the packages that the code may import."""
    names = {_DISTRIBUTIONS.get(package, package) for package in packages}
    names.update(_INDIRECT)
    names.update(_TRACKERS.get(tracker, tracker) for tracker in spec.tracking.report_to)
    if spec.optimizer.kind.distribution is not None:
        names.add(spec.optimizer.kind.distribution)
    return tuple(sorted(names))


def lock(distributions: Iterable[str]) -> str:
    """`requirements.txt`: the installed versions, without local parts such as `+cpu`.

    Raises:
        UserError: some are not installed; names them all.
    """
    versions = {name: installed_version(name) for name in distributions}
    missing = [name for name, installed in versions.items() if installed is None]
    if missing:
        raise UserError(
            f"these packages are not installed, so they can't be locked: {', '.join(missing)}: "
            f"pip install {' '.join(missing)}"
        )
    return requirements_text({name: installed for name, installed in versions.items() if installed})


def installed_version(distribution: str) -> str | None:
    """The public version of an installed distribution."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return None


def drift(
    locked: Mapping[str, str], installed: Mapping[str, str] | None = None
) -> tuple[Drift, ...]:
    """The packages that differ from a lock: of this process, or of `installed`."""

    def version_of(name: str) -> str | None:
        return installed_version(name) if installed is None else installed.get(normalized(name))

    return tuple(
        Drift(name, version, present)
        for name, version in locked.items()
        if (present := version_of(name)) != version
    )


def packages_in(folders: Iterable[Path]) -> dict[str, str]:
    """The public version of each distribution in some folders, by normalized name."""
    installed = distributions(path=[str(folder) for folder in folders])
    return {normalized(each.name): each.version.partition("+")[0] for each in installed}
