"""Check a spec and its dataset: every problem of every point of a sweep, in one go.

A document's points are resolved, their datasets are read, and each stage works on what is valid of
the one before. `check`, `check --data`, `fix` and `compile` all take this way.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from cvbundle.compiler.datasets import (
    Dataset,
    Source,
    list_dataset,
    source_of,
    valid_part,
)
from cvbundle.compiler.points import in_order, merged
from cvbundle.compiler.resolved import Resolved, resolve
from cvbundle.files.expand import expanded
from cvbundle.problems import Place, Problem
from cvbundle.rules.rule import Stage
from cvbundle.spec.file import SpecFile, read_file
from cvbundle.spec.overrides import override, with_value
from cvbundle.spec.points import Point, points
from cvbundle.spec.text.document import Document

if TYPE_CHECKING:
    from cvbundle.compiler.scanning import Manifest, Scanning


@frozen
class Experiment:
    """One point of a sweep, or the whole of a spec without a sweep."""

    point: Point
    resolved: Resolved
    manifest: "Manifest | None"
    """None if clips were not opened, or can't be used."""
    problems: tuple[Problem, ...]


@frozen
class Checked:
    """A spec after every check; without `problems` that block, its experiments can be compiled."""

    document: Document
    experiments: tuple[Experiment, ...]
    """In the order of the sweep's points."""
    problems: tuple[Problem, ...]
    """In the order of the spec, then of the dataset; those of `allow` are left out."""

    @property
    def blocked(self) -> bool:
        """Whether a problem forbids compiling."""
        return any(problem.blocks for problem in self.problems)

    @property
    def first(self) -> Resolved:
        """The first point."""
        return self.experiments[0].resolved


def open_spec(
    path: Path,
    settings: Iterable[str] = (),
    *,
    data_root: Path | None = None,
    model_path: str | None = None,
) -> SpecFile:
    """Read a spec file, and override some of its fields.

    Args:
        path: the spec; one that can't be read gives a document with that problem.
        settings: `field=value` overrides.
        data_root: the folder of the clips, relative to the current folder.
        model_path: the folder of the model, likewise, or its hub id.
    """
    file = read_file(path)
    document = override(file.document, settings)
    if data_root is not None:
        root = str(expanded(data_root).absolute())
        document = _with_path(document, "data", "root", "--data-root", root)
    if model_path is not None:
        folder = expanded(model_path)
        where = str(folder.absolute()) if folder.is_dir() else model_path
        document = _with_path(document, "model", "path", "--model-path", where)
    return SpecFile(file.content, document, file.base)


def _with_path(document: Document, section: str, name: str, option: str, value: str) -> Document:
    place = Place(option, 1, 1, len(value), value)
    return with_value(document, (section, name), value, place, place)


def check_file(
    path: Path,
    settings: Iterable[str] = (),
    *,
    data_root: Path | None = None,
    model_path: str | None = None,
    scanning: "Scanning | None" = None,
) -> Checked:
    """Check a spec file and its dataset's lists; with `scanning`, every clip is opened too.

    See `open_spec` for the other arguments.

    Raises:
        UserError: no worker process can be started, or the cluster can't be used.
    """
    file = open_spec(path, settings, data_root=data_root, model_path=model_path)
    if scanning is None:
        return check_document(file.document, file.base)
    # Opening clips needs a video library, reading lists doesn't.
    from cvbundle.compiler.scanning import scan_file

    return scan_file(file, scanning)


def check_document(document: Document, base: Path) -> Checked:
    """Check every point of a document's sweep, and the lists of each point's dataset."""
    return check_points(document, base, list_dataset, [Stage.LISTED])


def check_points(
    document: Document, base: Path, read: Callable[[Source], Dataset], stages: list[Stage]
) -> Checked:
    """Check every point of a document's sweep; `read` reads a dataset, as far as `stages` need."""
    datasets: dict[Source, Dataset] = {}
    experiments = []
    for point in points(document):
        resolved = resolve(point.document, base)
        source = source_of(resolved)
        dataset = Dataset()
        if source is not None:
            # Most sweeps don't vary the data: it is read once.
            if source not in datasets:
                datasets[source] = read(source)
            dataset = valid_part(datasets[source], resolved)
        problems = [*dataset.problems, *resolved.length_violations(dataset.samples)]
        for stage in stages:
            problems += resolved.violations(stage, samples=dataset.samples, refused=dataset.refused)
        reported = (*resolved.problems, *resolved.unaccepted(problems))
        experiments.append(Experiment(point, resolved, dataset.manifest, reported))
    by_point = [(each.point, each.problems) for each in experiments]
    return Checked(document, tuple(experiments), in_order(merged(by_point), document.file))
