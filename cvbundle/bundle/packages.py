"""The packages that a bundle's training imports: locked when compiled, compared when run."""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.requirements import normalized, requirements_text
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_DISTRIBUTIONS = {"PIL": "pillow", "attr": "attrs", "yaml": "pyyaml"}
"""Where a package's name isn't that of what is installed."""

_TRACKERS = {"comet_ml": "comet-ml"}

_BEHIND = ("huggingface_hub", "safetensors", "sentencepiece", "tokenizers")
"""Not imported by the trainer itself, but what it imports decides results with them."""


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
    names.update(_BEHIND)
    names.update(_TRACKERS.get(tracker, tracker) for tracker in spec.tracking.report_to)
    if spec.optimizer.kind.distribution is not None:
        names.add(spec.optimizer.kind.distribution)
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
    return requirements_text({name: installed for name, installed in found.items() if installed})


def installed_version(distribution: str) -> str | None:
    """The public version of an installed distribution."""
    try:
        return version(distribution).partition("+")[0]
    except PackageNotFoundError:
        return None


def drift(
    locked: Mapping[str, str], installed: Mapping[str, str] | None = None
) -> tuple[Drift, ...]:
    """Where what is installed differs from a lock: here, or what `packages_in` found elsewhere."""

    def there(name: str) -> str | None:
        return installed_version(name) if installed is None else installed.get(normalized(name))

    return tuple(
        Drift(name, version, found)
        for name, version in locked.items()
        if (found := there(name)) != version
    )


def packages_in(folders: Iterable[Path]) -> dict[str, str]:
    """The public version of everything that is installed in some folders, by normalized name."""
    found = distributions(path=[str(folder) for folder in folders])
    return {normalized(each.name): each.version.partition("+")[0] for each in found}
