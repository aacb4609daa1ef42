"""Read the dataset of a resolved spec: its lists, and on request its clips, into a manifest."""

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, frozen

from cvbundle.bundle import layout
from cvbundle.compiler.resolved import Resolved
from cvbundle.dataset.layouts import LISTS, list_fields
from cvbundle.dataset.listing import list_entries
from cvbundle.dataset.progress import Progress
from cvbundle.dataset.rules import reads
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.problems import Problem, UserError
from cvbundle.rules.findings import is_usable
from cvbundle.rules.lists import leaves_root
from cvbundle.spec.schema import Data


@frozen(kw_only=True)
class Scanning:
    """How the clips of a dataset are scanned."""

    cluster: str | None = None
    """Address of a Dask scheduler whose workers probe clips; None means this machine."""
    rehash: bool = False
    """Ignore cached results and digests, of clips and of weights."""
    progress: Progress | None = None


@frozen(kw_only=True)
class Manifest:
    """A written manifest."""

    dataset: Path
    skipped: Path
    """Exists only if something was skipped."""
    samples: int
    digests: Mapping[str, str]
    """sha256 of each file, by its name in a bundle."""


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
    manifest: Manifest | None = None
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


def scan_dataset(source: Source, folder: Path, scanning: Scanning) -> Dataset:
    """Open the clips of a dataset, and write its manifest into an empty folder.

    Raises:
        UserError: no worker process can be started, or the cluster can't be used.
    """
    # Opening clips needs a video library, reading lists doesn't.
    from contextlib import ExitStack

    from cvbundle.dataset.build import write_dataset
    from cvbundle.dataset.cluster import cluster
    from cvbundle.dataset.tokens import token_limit

    refused: dict[str, UserError] = {}
    limit = None
    try:
        if source.prompt_tokens is not None:
            limit = token_limit(source.prompt_tokens, source.model)
    except UserError as error:
        refused["model.path"] = error
    dataset, skipped = folder / layout.DATASET, folder / layout.SKIPPED
    with ExitStack() as stack:
        prober = None
        if scanning.cluster is not None:
            prober = stack.enter_context(cluster(scanning.cluster))
        summary = write_dataset(
            source.data,
            source.root.absolute() if scanning.cluster is not None else source.root,
            dataset,
            skipped,
            limit=limit,
            prober=prober,
            rehash=scanning.rehash,
            progress=scanning.progress,
            without=source.without,
        )
    refused |= {f"data.{name}": error for name, error in summary.refused.items()}
    read = Dataset(problems=summary.problems, refused=refused)
    if refused or source.without or summary.blocked:
        return read
    written = [path for path in (dataset, skipped) if path.is_file()]
    digests = {path.name: sha256_file(path) for path in written}
    manifest = Manifest(dataset=dataset, skipped=skipped, samples=summary.samples, digests=digests)
    return evolve(read, samples=summary.samples, manifest=manifest)


def sound_part(dataset: Dataset, resolved: Resolved) -> Dataset:
    """What of a dataset is true of a spec some of whose fields in `data` are stand-ins."""
    problems = tuple(
        problem
        for problem in dataset.problems
        if all(is_usable(field, resolved.invalid) for field in reads(problem.rule))
    )
    if resolved.is_valid("data") and not any(problem.blocks for problem in problems):
        return evolve(dataset, problems=problems)
    return evolve(dataset, problems=problems, samples=None, manifest=None)
