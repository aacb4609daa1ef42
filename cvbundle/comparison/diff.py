"""Compare two bundles: settings, samples, weights, packages, code and results."""

import difflib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.bundle.bundle import Bundle, flat
from cvbundle.bundle.difference import Change, changes
from cvbundle.bundle.result import Result, result_of
from cvbundle.bundle.runs import newest_complete
from cvbundle.bundle.verify import hashed_files
from cvbundle.comparison.manifests import DataDifference, compare_manifests
from cvbundle.comparison.operands import Side, open_side
from cvbundle.files.digest import sha256_file
from cvbundle.files.durable import temporary_folder


@frozen
class TextChange:
    """A text file that differs."""

    name: str
    lines: tuple[str, ...]
    """A unified diff, without line ends."""


@frozen(kw_only=True)
class Comparison:
    """How the bundle `after` differs from the one `before`."""

    before: Side
    after: Side
    settings: tuple[Change, ...]
    data: DataDifference
    weights: tuple[Change, ...]
    packages: tuple[Change, ...]
    code: tuple[TextChange, ...]
    others: tuple[Change, ...]
    """Digests of other files: validation images, skipped samples."""
    results: tuple[Result | None, Result | None]
    """Of the latest complete run on each side, else of the latest run."""
    not_deterministic: tuple[str, ...] = ()
    """The sides, A or B, whose runs can differ from each other."""

    @property
    def same(self) -> bool:
        """Whether both are the same bundle; results are not compared."""
        return self.data.same and not (
            self.settings or self.weights or self.packages or self.code or self.others
        )


def compare_bundles(before: str, after: str) -> Comparison:
    """Compare what two texts name: each a bundle's folder or hash, an archive, or a spec.

    Archives and specs are gone afterwards: the sides' folders are not to be read.

    Raises:
        UserError: there is no such bundle, or a file of one is damaged.
        ProblemsFound: a spec can't be compiled.
    """
    with temporary_folder(Path(tempfile.gettempdir()), "cvbundle-diff") as folder:
        # Each side has its own temporary store: both may be the same bundle.
        sides = [open_side(text, folder / str(i)) for i, text in enumerate((before, after))]
        return compare(*sides)


def compare(before: Side, after: Side) -> Comparison:
    """Compare two bundles, whichever versions of cvbundle compiled them.

    Raises:
        UserError: a file of one of them is damaged.
    """
    one, other = before.bundle, after.bundle
    return Comparison(
        before=before,
        after=after,
        settings=_sorted(changes(one.settings, other.settings)),
        data=compare_manifests(one.folder / layout.DATASET, other.folder / layout.DATASET),
        weights=_sorted(changes(_weights(one), _weights(other))),
        packages=_sorted(changes(one.requirements, other.requirements)),
        code=tuple(_code(one.folder, other.folder)),
        others=_sorted(changes(_others(one.folder), _others(other.folder))),
        results=(_result(before), _result(after)),
        not_deterministic=tuple(
            name
            for name, bundle in (("A", one), ("B", other))
            if bundle.settings.get("training.deterministic") is False
        ),
    )


def _sorted(unsorted: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(unsorted, key=lambda change: change.name))


def _weights(bundle: Bundle) -> dict[str, Any]:
    """The record of the base model by dotted names, with each file's digest by its path."""
    record = dict(bundle.model_data)
    files = record.pop("files", [])
    try:
        digests = {file["path"]: file["sha256"] for file in files}
    except (LookupError, TypeError):
        # Of another version, or damaged: compared as a whole.
        digests = {"files": files}
    return flat(record) | digests


def _is_code(name: str) -> bool:
    return name.startswith(f"{layout.CODE}/") or name in (layout.LAUNCH, layout.ACCELERATE)


def _code(before: Path, after: Path) -> Iterator[TextChange]:
    """The code files that differ."""
    for name in sorted({*hashed_files(before), *hashed_files(after)}):
        if not _is_code(name):
            continue
        old, new = (_content(folder / name) for folder in (before, after))
        if old != new:
            lines = difflib.unified_diff(
                old.decode("utf-8", "replace").splitlines(),
                new.decode("utf-8", "replace").splitlines(),
                f"a/{name}",
                f"b/{name}",
                lineterm="",
            )
            yield TextChange(name, tuple(lines))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


_COMPARED = frozenset(
    (layout.CONFIG, layout.DATASET, layout.MODEL, layout.REQUIREMENTS, layout.README)
)
"""Files that are compared by their contents; the README only repeats them."""


def _others(folder: Path) -> dict[str, str]:
    return {
        name: sha256_file(folder / name)
        for name in hashed_files(folder)
        if name not in _COMPARED and not _is_code(name)
    }


def _result(side: Side) -> Result | None:
    run = newest_complete(side.runs) or (side.runs[-1] if side.runs else None)
    return None if run is None else result_of(run)
