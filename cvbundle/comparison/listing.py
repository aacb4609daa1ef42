"""The bundles of a store as a table, filtered and sorted."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.store import list_bundles
from cvbundle.files.json_objects import DamagedFile
from cvbundle.problems import UserError
from cvbundle.spec.nearest import nearest
from cvbundle.spec.sweep import sweepable
from cvbundle.spec.text.reader import read

Column = Literal["hash", "name", "model", "type", "samples", "status", "loss", "size"]


@frozen(kw_only=True)
class Listed:
    """A bundle on a line; None for what can't be read in a damaged one."""

    bundle: Bundle
    name: str | None
    model: str | None
    type: str | None
    samples: int | None
    status: str
    """Of the newest run; `damaged` if the bundle can't be read."""
    loss: float | None
    """The last loss of the newest run."""
    size: int
    """Bytes of all files, runs included."""

    @property
    def hash(self) -> str:
        """The first digits of its digest."""
        return self.bundle.name


def list_store(
    store: Path, where: Iterable[str] = (), *, sort: Column = "name", reverse: bool = False
) -> list[Listed]:
    """The bundles of a store that have all the settings in `where` (`field=value`), sorted.

    Raises:
        UserError: a filter has no value, or the name of no field.
    """
    wanted = [_filter(text) for text in where]
    matching = [bundle for bundle in list_bundles(store) if all(fits(bundle) for fits in wanted)]
    lines = [_listed(bundle) for bundle in matching]
    # Those without a value come last in both directions.
    with_value = [line for line in lines if getattr(line, sort) is not None]
    without = [line for line in lines if getattr(line, sort) is None]
    with_value.sort(key=lambda line: (getattr(line, sort), line.hash), reverse=reverse)
    return with_value + without


def _filter(text: str) -> Callable[[Bundle], bool]:
    name, equals, written = text.partition("=")
    name = name.strip()
    document = read(f"value: {written}".encode("utf-8", "surrogateescape"), "--where")
    if not equals or document.problems or set(document.data) != {"value"}:
        raise UserError(f"--where {text}: write a field and its value, training.learning_rate=1e-4")
    fields = ("name", *(name for name in sweepable() if "." in name))
    if name not in fields:
        near = nearest(name, fields)
        hint = f"write {near}" if near else "cvbundle explain lists the fields"
        raise UserError(f"--where {text}: a spec has no field {name}: {hint}")
    value = document.data["value"]

    def fits(bundle: Bundle) -> bool:
        try:
            return _is_same(bundle.settings.get(name), value)
        except DamagedFile:
            return False

    return fits


def _is_same(one: Any, other: Any) -> bool:
    """Equal, and true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _listed(bundle: Bundle) -> Listed:
    paths = bundle.folder.rglob("*")
    damaged = Listed(
        bundle=bundle,
        name=None,
        model=None,
        type=None,
        samples=None,
        status="damaged",
        loss=None,
        size=sum(path.lstat().st_size for path in paths if not path.is_dir()),
    )
    try:
        settings, runs = bundle.settings, bundle.runs
        metrics = runs[-1].last_metrics() if runs else None
        return evolve(
            damaged,
            name=settings["name"],
            model=settings["model.name"],
            type=settings["training.type"],
            samples=bundle.sample_count,
            status=runs[-1].status if runs else "not run",
            loss=metrics.get("loss") if metrics else None,
        )
    except (DamagedFile, KeyError):
        return damaged
