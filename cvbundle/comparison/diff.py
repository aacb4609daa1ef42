"""Compare two bundles: settings, samples, weights, packages, code and results."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.bundle.change import Change
from cvbundle.bundle.requirements import read_requirements
from cvbundle.bundle.results import Result, result_of
from cvbundle.bundle.verify import hashed_files
from cvbundle.comparison.manifests import DataDifference, compare_manifests
from cvbundle.comparison.operands import Side
from cvbundle.files.digest import sha256_file


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
    unpromised: tuple[str, ...] = ()
    """The sides, A or B, whose runs are not reproducible bit for bit."""

    @property
    def same(self) -> bool:
        """Whether both are the same bundle; results are not compared."""
        return self.data.same and not (
            self.settings or self.weights or self.packages or self.code or self.others
        )


def compare(before: Side, after: Side) -> Comparison:
    """Compare two bundles."""
    one, other = before.bundle, after.bundle
    return Comparison(
        before=before,
        after=after,
        settings=_changes(settings(one), settings(other)),
        data=compare_manifests(one / layout.DATASET, other / layout.DATASET),
        weights=_changes(_weights(one), _weights(other)),
        packages=_changes(_packages(one), _packages(other)),
        code=tuple(_code(one, other)),
        others=_changes(_others(one), _others(other)),
        results=(_result(before), _result(after)),
        unpromised=tuple(
            name
            for name, bundle in (("A", one), ("B", other))
            if settings(bundle).get("training.deterministic") is False
        ),
    )


def settings(bundle: Path) -> dict[str, Any]:
    """Every setting of a bundle by its dotted name."""
    return dict(_flat(json.loads((bundle / layout.CONFIG).read_bytes())))


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )


def _weights(bundle: Path) -> dict[str, Any]:
    """The base model's record, with each file's digest."""
    record = json.loads((bundle / layout.MODEL).read_bytes())
    files = {file["path"]: file["sha256"] for file in record.pop("files")}
    return dict(_flat(record)) | files


def _packages(bundle: Path) -> Mapping[str, str]:
    return read_requirements(bundle)


def _is_code(name: str) -> bool:
    return name.startswith(f"{layout.CODE}/") or name in (layout.LAUNCH, layout.ACCELERATE)


def _code(before: Path, after: Path) -> Iterator[TextChange]:
    """The code files that differ."""
    for name in sorted({*hashed_files(before), *hashed_files(after)}):
        if not _is_code(name):
            continue
        old, new = (_content(bundle / name) for bundle in (before, after))
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
"""Files that are compared by their meaning; the README only repeats them."""


def _others(bundle: Path) -> dict[str, str]:
    return {
        name: sha256_file(bundle / name)
        for name in hashed_files(bundle)
        if name not in _COMPARED and not _is_code(name)
    }


def _result(side: Side) -> Result | None:
    complete = [run for run in side.runs if run.complete]
    runs = complete or list(side.runs)
    return result_of(runs[-1]) if runs else None
