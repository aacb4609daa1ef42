"""Merge the problems of a sweep's points, each once with the points that have it, and sort them."""

from collections.abc import Iterable, Sequence

from attrs import evolve

from cvbundle.problems import Problem
from cvbundle.spec.points import Point


def merged(by_point: Sequence[tuple[Point, Sequence[Problem]]]) -> tuple[Problem, ...]:
    """Every problem once, in order; one that only some points have names them."""
    every = tuple(point for point, _ in by_point)
    points_with: dict[Problem, list[Point]] = {}
    for point, problems in by_point:
        for problem in dict.fromkeys(problems):
            points_with.setdefault(problem, []).append(point)
    return tuple(
        problem
        if len(points) == len(every)
        else evolve(problem, message=f"{problem.message} ({_where(points, every)})")
        for problem, points in points_with.items()
    )


def _where(some: Sequence[Point], every: Sequence[Point]) -> str:
    """The settings that only these points have in common, or their names."""
    common = [s for s in some[0].settings if all(s in point.settings for point in some)]
    alike = [point for point in every if all(s in point.settings for s in common)]
    if common and len(alike) == len(some):
        return f"at {_short(common)}"
    others = f" and {len(some) - 1} more points" if len(some) > 1 else ""
    return f"at {_short(some[0].settings)}{others}"


def _short(settings: Sequence[str]) -> str:
    return ", ".join(text if len(text) <= 80 else f"{text[:79]}…" for text in settings)


def in_order(problems: Iterable[Problem], spec: str) -> tuple[Problem, ...]:
    """Problems in the order of the spec's text, then those of options, then those of datasets."""

    def position(problem: Problem) -> tuple[int, int, int]:
        place = problem.place
        if place.file == spec:
            return 0, place.line, place.column
        return (1, place.line, place.column) if place.file.startswith("--") else (2, 0, 0)

    return tuple(sorted(problems, key=position))
