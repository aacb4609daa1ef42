"""`sweep`: several experiments in one spec.

A map of fields to lists is a grid, every value combined with every value of the others; a list of
maps is a list of points. Each point is a document of its own, in which swept values keep their
places in the sweep, so that problems are reported there.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

from attrs import define, evolve, field, frozen

from cvbundle.problems import Path, Place, Problem, Rule, dotted
from cvbundle.spec.about import About
from cvbundle.spec.fields import Field, Sweep, all_fields
from cvbundle.spec.flow import flow
from cvbundle.spec.nearest import nearest
from cvbundle.spec.points import AT, Point
from cvbundle.spec.rules import KEY_UNKNOWN, VALUE_CHOICE, VALUE_RANGE, VALUE_TYPE
from cvbundle.spec.text.document import Document

FIELD = Field(
    path=("sweep",),
    type=Sweep,
    nullable=True,
    about=About(
        "Several experiments in one spec, one bundle each: a map of fields to lists of values (a "
        "grid), or a list of maps of fields to values (points). Not part of a bundle's config.",
        {"training.learning_rate": [1e-5, 5e-5], "lora.rank": [64, 128]},
    ),
    default=None,
)
"""The documentation of `sweep`, like that of the fields of the spec's classes."""
MAX_POINTS = 1000


@frozen
class _Setting:
    """One value of one field, and its path below `sweep`."""

    path: Path
    at: Path
    value: object


@functools.cache
def sweepable() -> tuple[str, ...]:
    """The fields that can be swept: all that are values or can be written as one."""
    return tuple(
        field.name
        for field in all_fields()
        if len(field.path) > 1 or not (field.is_section or field.name in ("cvbundle", "allow"))
    )


def swept(document: Document, base: Document) -> tuple[Point, ...]:
    """Every point of a document's sweep, in order; `base` is the document without it."""
    reading = _Reading(document)
    settings = reading.settings()
    base = evolve(
        base,
        problems=(*base.problems, *reading.problems),
        invalid=base.invalid | reading.invalid,
    )
    return tuple(Point(_named(chosen), _with(document, base, chosen)) for chosen in settings)


@define
class _Reading:
    """Reads the sweep section into lists of settings, and collects its problems."""

    document: Document
    problems: list[Problem] = field(factory=list)
    invalid: set[Path] = field(factory=set)
    """Swept fields whose values are invalid."""

    def settings(self) -> list[tuple[_Setting, ...]]:
        """The settings of each point."""
        refused = (path[1] for path in self.document.invalid if path[:1] == AT and len(path) == 2)
        self.invalid.update(
            tuple(key.split(".")) for key in map(str, refused) if key in sweepable()
        )
        section = self.document.data.get("sweep")
        settings: list[tuple[_Setting, ...]] = []
        if isinstance(section, Mapping):
            settings = self._grid(section)
        elif isinstance(section, list):
            settings = self._points(section)
        elif AT not in self.document.invalid:
            self._problem(VALUE_TYPE, AT, f"sweep: expected {_FORM}, not {flow(section)}", _HINT)
        return settings or [()]

    def _grid(self, section: Mapping[str, object]) -> list[tuple[_Setting, ...]]:
        if not section and AT not in self.document.invalid:
            self._problem(VALUE_RANGE, AT, "the sweep is empty", "name a field, or remove sweep")
        axes = []
        for key, values in section.items():
            at: Path = (*AT, key)
            path = self._field(key, at, values)
            if path is None:
                continue
            if at in self.document.invalid:
                self.invalid.add(path)
                continue
            if not isinstance(values, list):
                message = f"{dotted(at)}: expected a list of values, not {flow(values)}"
                one = None if isinstance(values, Mapping) else f"[{flow(values)}]"
                self._problem(VALUE_TYPE, at, message, f"write {one or 'a list'}", one)
            elif not values:
                hint = "write the values to try, or remove the field"
                self._problem(VALUE_RANGE, at, f"{dotted(at)} has no values", hint)
            else:
                axes.append(self._axis(path, at, values))
                continue
            self.invalid.add(path)
        size = math.prod(len(axis) for axis in axes)
        if size > MAX_POINTS:
            self._too_many(size)
            self.invalid.update(axis[0].path for axis in axes)
            return []
        return list(itertools.product(*axes)) if axes else []

    def _axis(self, path: Path, at: Path, values: list[object]) -> list[_Setting]:
        axis = [_Setting(path, (*at, index), value) for index, value in enumerate(values)]
        for index, setting in enumerate(axis):
            if any(_same(setting.value, other.value) for other in axis[:index]):
                self._repeated(setting.at, f"{flow(setting.value)} is repeated")
        return axis

    def _points(self, section: list[object]) -> list[tuple[_Setting, ...]]:
        if not section and AT not in self.document.invalid:
            self._problem(VALUE_RANGE, AT, "the sweep is empty", "name a point, or remove sweep")
        if len(section) > MAX_POINTS:
            self._too_many(len(section))
            return []
        points: list[tuple[_Setting, ...]] = []
        for index, point in enumerate(section):
            at: Path = (*AT, index)
            if at in self.document.invalid:
                continue
            if not isinstance(point, Mapping) or not point:
                message = f"{dotted(at)}: expected fields and their values, not {flow(point)}"
                hint = "in a list, each entry is a point like {lora.rank: 64}"
                self._problem(VALUE_TYPE, at, message, hint)
                continue
            settings = tuple(self._point(point, at))
            if any(_equal(settings, other) for other in points):
                self._repeated(at, "this point is repeated")
            elif settings:
                points.append(settings)
        return points

    def _point(self, point: Mapping[str, object], above: Path) -> Iterator[_Setting]:
        for key, value in point.items():
            at = (*above, key)
            path = self._field(key, at, value)
            if path is not None:
                yield _Setting(path, at, value)

    def _field(self, key: str, at: Path, value: object) -> Path | None:
        """The field that a key of a sweep names, if it can be swept."""
        path: Path = tuple(key.split("."))
        if key in sweepable():
            place = self.document.values.get(path)
            if place is None or place.file == self.document.file:
                return path
            message = f"{key} is set here, but swept in the spec"
            self._problem(VALUE_CHOICE, path, message, "remove one of the two")
            return None
        hint, near = "cvbundle explain lists all fields", None
        if isinstance(value, Mapping) and value:
            inner = next(iter(value))
            hint = f"write the full name: {key}.{inner}"
        elif near := _nearest(key):
            hint = f"write {near}"
        place = self.document.keys.get(at) or self.document.place(at)
        message = f"{key} is not a field that can be swept"
        self.problems.append(KEY_UNKNOWN.problem(place, message, hint, at, near))
        return None

    def _repeated(self, at: Path, message: str) -> None:
        hint = "remove one: both give the same bundle"
        self._problem(VALUE_RANGE, at, message, hint)

    def _too_many(self, size: int) -> None:
        message = f"{size:,} points, more than {MAX_POINTS:,}"
        self._problem(VALUE_RANGE, AT, message, "sweep over fewer values, or list points")

    def _problem(
        self, rule: Rule, path: Path, message: str, hint: str, replacement: str | None = None
    ) -> None:
        place = self.document.place(path)
        if path == AT:
            place = self.document.section(path)
        if not place.whole:
            replacement = None
        self.problems.append(rule.problem(place, message, hint, path, replacement))


_FORM = "a map of fields to lists of values, or a list of points"
_HINT = "write {lora.rank: [64, 128]}"


def _with(document: Document, base: Document, settings: tuple[_Setting, ...]) -> Document:
    """The document with a point's values, at their places in `document`."""
    data = base.data
    values, keys, invalid = dict(base.values), dict(base.keys), set(base.invalid)
    for setting in settings:
        path, at = setting.path, setting.at
        data = _put(data, path, setting.value)
        for places in (values, keys):
            for old in [old for old in places if old[: len(path)] == path]:
                del places[old]
        invalid = {old for old in invalid if old[: len(path)] != path}
        values |= _moved(document.values, at, path)
        keys |= _moved(document.keys, at, path)
        key = at if isinstance(at[-1], str) else at[:-1]
        if key in document.keys:
            keys[path] = document.keys[key]
        invalid.update((*path, *old[len(at) :]) for old in document.invalid if old[: len(at)] == at)
    return evolve(base, data=data, values=values, keys=keys, invalid=frozenset(invalid))


def _moved(places: Mapping[Path, Place], at: Path, path: Path) -> dict[Path, Place]:
    return {
        (*path, *old[len(at) :]): place for old, place in places.items() if old[: len(at)] == at
    }


def _put(data: Mapping[str, object], path: Path, value: object) -> dict[str, object]:
    """A copy of the data with another value at `path`."""
    key = str(path[0])
    if len(path) == 1:
        return {**data, key: value}
    inner = data.get(key)
    section = cast(Mapping[str, object], inner) if isinstance(inner, Mapping) else {}
    return {**data, key: _put(section, path[1:], value)}


def _named(settings: tuple[_Setting, ...]) -> tuple[str, ...]:
    return tuple(f"{dotted(setting.path)}={flow(setting.value)}" for setting in settings)


def _nearest(key: str) -> str | None:
    by_last = [name for name in sweepable() if name.rpartition(".")[2] == key]
    return by_last[0] if by_last else nearest(key, sweepable())


def _equal(one: tuple[_Setting, ...], other: tuple[_Setting, ...]) -> bool:
    mine: dict[Path, Any] = {setting.path: setting.value for setting in one}
    theirs: dict[Path, Any] = {setting.path: setting.value for setting in other}
    return mine.keys() == theirs.keys() and all(_same(mine[path], theirs[path]) for path in mine)


def _same(one: object, other: object) -> bool:
    """Whether two values are equal: unlike in Python, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
