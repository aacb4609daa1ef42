"""Write the manifests of a compilation; points of a sweep with the same data share one."""

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.dataset.build import write_dataset
from cvbundle.dataset.cluster import cluster
from cvbundle.dataset.progress import Progress
from cvbundle.dataset.rules import CLIP_MISSING
from cvbundle.dataset.tokens import token_limit
from cvbundle.dataset.writing import Summary
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.problems import Problem, ProblemsFound, UserError
from cvbundle.rules.check import Checked, accept, check_dataset, length_problems


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


class Manifests:
    """Writes each manifest once, into a folder of the compilation."""

    def __init__(self, folder: Path, scanning: Scanning) -> None:
        self._folder = folder
        self._scanning = scanning
        self._written: dict[object, Manifest] = {}
        self.warnings: tuple[Problem, ...] = ()

    def of(self, checked: Checked, before: tuple[Problem, ...]) -> Manifest:
        """The manifest of a spec whose own problems are `before`.

        Raises:
            ProblemsFound: a clip, a list or a caption can't be used, or the run is too short.
        """
        assert checked.model is not None
        key = (checked.spec.data, checked.spec.model.type, checked.model.prompt_tokens)
        if key not in self._written:
            self._written[key] = self._write(checked, before)
        manifest = self._written[key]
        self._report(length_problems(checked, manifest.samples), before)
        return manifest

    def _write(self, checked: Checked, before: tuple[Problem, ...]) -> Manifest:
        folder = self._folder / str(len(self._written))
        folder.mkdir()
        dataset, skipped = folder / layout.DATASET, folder / layout.SKIPPED
        try:
            summary = self._scan(checked, dataset, skipped)
        except UserError:
            # Checking the dataset again gives problems with places.
            placed = accept(check_dataset(checked, open_clips=False).problems, checked.spec)
            if any(problem.blocks for problem in placed):
                raise ProblemsFound((*before, *placed)) from None
            raise
        problems = accept(summary.problems, checked.spec)
        if not summary.samples and not any(problem.blocks for problem in problems):
            at = ("data", "root")
            message = f"no clip of {checked.spec.data.root} is left to train on"
            place = checked.document.place(at)
            problems = (*problems, CLIP_MISSING.problem(place, message, "add clips", at))
        self._report(problems, before)
        written = [path for path in (dataset, skipped) if path.is_file()]
        digests = {path.name: sha256_file(path) for path in written}
        return Manifest(dataset=dataset, skipped=skipped, samples=summary.samples, digests=digests)

    def _report(self, problems: tuple[Problem, ...], before: tuple[Problem, ...]) -> None:
        """Collect warnings; raise `ProblemsFound` for anything else."""
        if any(problem.blocks for problem in problems):
            raise ProblemsFound((*before, *problems))
        self.warnings += tuple(problem for problem in problems if problem not in self.warnings)

    def _scan(self, checked: Checked, dataset: Path, skipped: Path) -> Summary:
        assert checked.model is not None
        data, scanning = checked.spec.data, self._scanning
        root = checked.base / expanded(data.root)
        limit = token_limit(checked.model.prompt_tokens, checked.model.folder)
        if scanning.cluster is None:
            return write_dataset(
                data,
                root,
                dataset,
                skipped,
                limit=limit,
                rehash=scanning.rehash,
                progress=scanning.progress,
            )
        with cluster(scanning.cluster) as prober:
            return write_dataset(
                data,
                root.absolute(),
                dataset,
                skipped,
                limit=limit,
                prober=prober,
                rehash=scanning.rehash,
                progress=scanning.progress,
            )
