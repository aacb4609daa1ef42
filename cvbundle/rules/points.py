"""The problems of a sweep's points as those of one spec: each once, with the points it is in."""

from collections.abc import Sequence

from attrs import evolve

from cvbundle.problems import Problem
from cvbundle.spec.sweep import Point


def merged(found: Sequence[tuple[Point, Sequence[Problem]]]) -> tuple[Problem, ...]:
    """Every problem once, in the order found; where some points only have it, it names them."""
    every = tuple(point for point, _ in found)
    with_it: dict[Problem, list[Point]] = {}
    for point, problems in found:
        for problem in dict.fromkeys(problems):
            with_it.setdefault(problem, []).append(point)
    return tuple(
        problem
        if len(points) == len(every)
        else evolve(problem, message=f"{problem.message} ({_where(points, every)})")
        for problem, points in with_it.items()
    )


def _where(some: Sequence[Point], every: Sequence[Point]) -> str:
    """What some of a sweep's points have in common and the others don't; else their names."""
    common = [s for s in some[0].settings if all(s in point.settings for point in some)]
    alike = [point for point in every if all(s in point.settings for s in common)]
    if common and len(alike) == len(some):
        return f"at {_short(common)}"
    others = f" and {len(some) - 1} more points" if len(some) > 1 else ""
    return f"at {_short(some[0].settings)}{others}"


def _short(settings: Sequence[str]) -> str:
    return ", ".join(text if len(text) <= 80 else f"{text[:79]}…" for text in settings)
