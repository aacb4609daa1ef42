"""The bundles of a store, each on a line, filtered and sorted."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.results import last_loss
from cvbundle.bundle.runs import list_runs
from cvbundle.bundle.store import list_bundles
from cvbundle.comparison.description import count_lines
from cvbundle.comparison.diff import settings
from cvbundle.problems import UserError
from cvbundle.spec.nearest import nearest
from cvbundle.spec.source import read
from cvbundle.spec.sweep import sweepable

Column = Literal["hash", "name", "model", "type", "samples", "status", "loss", "size"]


@frozen(kw_only=True)
class Listed:
    """A bundle on a line; None for what a damaged one doesn't tell."""

    bundle: Path
    hash: str
    name: str | None
    model: str | None
    type: str | None
    samples: int | None
    status: str
    """Of the newest run; `damaged` where the bundle can't be read."""
    loss: float | None
    """The last of the newest run."""
    size: int
    """Bytes of all files, runs included."""


def list_store(
    store: Path, where: Iterable[str] = (), *, sort: Column = "name", reverse: bool = False
) -> list[Listed]:
    """The bundles of a store whose settings are as `where` says (`field=value`), sorted.

    Raises:
        UserError: a filter names no setting, or no value.
    """
    wanted = [_filter(text) for text in where]
    found = [
        _listed(bundle) for bundle in list_bundles(store) if all(fits(bundle) for fits in wanted)
    ]
    # What is not known comes last, whichever way it goes.
    known = [each for each in found if getattr(each, sort) is not None]
    unknown = [each for each in found if getattr(each, sort) is None]
    known.sort(key=lambda each: (getattr(each, sort), each.hash), reverse=reverse)
    return known + unknown


def _filter(text: str) -> Callable[[Path], bool]:
    name, equals, written = text.partition("=")
    name = name.strip()
    document = read(f"value: {written}".encode("utf-8", "surrogateescape"), "--where")
    if not equals or document.problems or set(document.data) != {"value"}:
        raise UserError(f"--where {text}: write a field and its value, training.learning_rate=1e-4")
    known = ("name", *(name for name in sweepable() if "." in name))
    if name not in known:
        near = nearest(name, known)
        hint = f"write {near}" if near else "cvbundle explain lists the fields"
        raise UserError(f"--where {text}: {name} is no field of a spec: {hint}")
    value = document.data["value"]

    def fits(bundle: Path) -> bool:
        try:
            return _same(settings(bundle).get(name), value)
        except (OSError, ValueError, AttributeError):
            return False

    return fits


def _same(one: Any, other: Any) -> bool:
    """Equal, and true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _listed(bundle: Path) -> Listed:
    size = sum(path.lstat().st_size for path in bundle.rglob("*") if not path.is_dir())
    try:
        config = json.loads((bundle / layout.CONFIG).read_bytes())
        runs = list_runs(bundle_runs(bundle))
        return Listed(
            bundle=bundle,
            hash=bundle.name,
            name=config["name"],
            model=config["model"]["name"],
            type=config["training"]["type"],
            samples=count_lines(bundle / layout.DATASET),
            status=runs[-1].status if runs else "not run",
            loss=last_loss(runs[-1].folder) if runs else None,
            size=size,
        )
    except (OSError, ValueError, LookupError, TypeError):
        return Listed(
            bundle=bundle,
            hash=bundle.name,
            name=None,
            model=None,
            type=None,
            samples=None,
            status="damaged",
            loss=None,
            size=size,
        )
