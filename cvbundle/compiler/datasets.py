"""Where the dataset of a resolved spec is, and what was read of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cvbundle.compiler.resolved import Resolved
from cvbundle.dataset.layouts import LISTS, list_fields
from cvbundle.dataset.listing import list_entries
from cvbundle.dataset.rules import reads
from cvbundle.files.expand import expanded
from cvbundle.problems import Problem, UserError
from cvbundle.rules.findings import is_usable
from cvbundle.rules.lists import leaves_root
from cvbundle.spec.schema import Data

if TYPE_CHECKING:
    from cvbundle.compiler.scanning import Manifest


@frozen(kw_only=True)
class Source:
    """A dataset's folder and what decides how it is read; equal ones are read once."""

    data: Data
    root: Path
    without: frozenset[str]
    """The fields of `data` whose lists can't be read."""
    prompt_tokens: int | None
    """Tokens of the model's longest prompt; None without a model."""
    model: Path | None
    """The folder with the model's tokenizer, if it is on this machine."""


@frozen(kw_only=True)
class Dataset:
    """What was read of a dataset: its lists, and its clips if it was scanned."""

    problems: tuple[Problem, ...] = ()
    """In the order of the dataset."""
    refused: Mapping[str, UserError] = {}
    """Why what a field of the spec names can't be used, by the field."""
    samples: int | None = None
    """An upper bound until clips are opened; None if it isn't known."""
    manifest: "Manifest | None" = None
    """None until clips are opened, and if any of them can't be used."""


def source_of(resolved: Resolved) -> Source | None:
    """Where a spec's dataset is; None if the fields that say so are invalid."""
    data, model = resolved.spec.data, resolved.model
    if not (resolved.is_valid("data.root") and resolved.is_valid("data.metadata")):
        return None
    outside = {name for name in list_fields(data) if leaves_root(getattr(data, name))}
    invalid = {name for name in LISTS if not resolved.is_valid(f"data.{name}")}
    return Source(
        data=data,
        # An unknown home folder is a folder that doesn't exist.
        root=resolved.base / _expanded(data.root),
        without=frozenset(outside | invalid),
        prompt_tokens=None if model is None else model.prompt_tokens,
        model=None if model is None else model.folder,
    )


def _expanded(path: str) -> Path:
    try:
        return expanded(path)
    except UserError:
        return Path(path)


def list_dataset(source: Source) -> Dataset:
    """Read the lists of a dataset."""
    listing = list_entries(source.data, source.root, without=source.without)
    refused = {f"data.{name}": error for name, error in listing.refused.items()}
    is_complete = not (refused or source.without)
    samples = len(listing.entries) if is_complete else None
    return Dataset(problems=listing.problems, refused=refused, samples=samples)


def valid_part(dataset: Dataset, resolved: Resolved) -> Dataset:
    """What of a dataset is true of a spec some of whose fields in `data` are stand-ins."""
    problems = tuple(
        problem
        for problem in dataset.problems
        if all(is_usable(field, resolved.invalid) for field in reads(problem.rule))
    )
    if resolved.is_valid("data") and not any(problem.blocks for problem in problems):
        return evolve(dataset, problems=problems)
    return evolve(dataset, problems=problems, samples=None, manifest=None)
