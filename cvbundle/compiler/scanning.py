"""Open every clip of a spec's datasets, and write their manifests."""

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import evolve, frozen

from cvbundle.bundle import layout
from cvbundle.compiler.check import Checked, check_points
from cvbundle.compiler.datasets import Dataset, Source
from cvbundle.dataset.progress import Progress
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.digest import sha256_file
from cvbundle.files.durable import temporary_folder
from cvbundle.problems import UserError
from cvbundle.rules.rule import Stage
from cvbundle.spec.file import SpecFile
from cvbundle.spec.text.document import Document


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


def scan_document(document: Document, base: Path, folder: Path, scanning: Scanning) -> Checked:
    """Check the same and open every clip, and write the manifests into an empty folder.

    Raises:
        UserError: no worker process can be started, or the cluster can't be used.
    """
    numbers = itertools.count()

    def scan(source: Source) -> Dataset:
        below = folder / str(next(numbers))
        below.mkdir()
        return scan_dataset(source, below, scanning)

    return check_points(document, base, scan, [Stage.LISTED, Stage.SCANNED])


def scan_file(file: SpecFile, scanning: Scanning) -> Checked:
    """Check a spec, its dataset's lists and every clip.

    Raises:
        UserError: no worker process can be started, or the cluster can't be used.
    """
    with _scratch() as folder:
        checked = scan_document(file.document, file.base, folder, scanning)
    # The manifests are gone; an unchanged dataset's next scan takes them from the cache.
    return evolve(
        checked, experiments=tuple(evolve(each, manifest=None) for each in checked.experiments)
    )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A temporary folder for manifests, beside the cached ones if that folder can be written."""
    parent = cache_folder()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(parent, os.W_OK)
    except OSError:
        is_writable = False
    with temporary_folder(parent if is_writable else Path(tempfile.gettempdir()), "check") as made:
        yield made


def scan_dataset(source: Source, folder: Path, scanning: Scanning) -> Dataset:
    """Open the clips of a dataset, and write its manifest into an empty folder.

    Raises:
        UserError: no worker process can be started, or the cluster can't be used.
    """
    # Who reads bundles imports this module, and needs no video library.
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
