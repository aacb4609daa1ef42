"""Check a spec and its dataset, from text to resolved spec and problems."""

from collections.abc import Iterable
from pathlib import Path as FilePath

from attrs import evolve

from cvbundle.problems import Problem
from cvbundle.rules.data import DatasetCheck, check_dataset, undecodable_images
from cvbundle.rules.document import Checked, accept, check_document, in_order, length_problems
from cvbundle.rules.points import merged
from cvbundle.spec.file import read_file
from cvbundle.spec.overrides import override
from cvbundle.spec.source import Document
from cvbundle.spec.sweep import Point, points

__all__ = [
    "Checked",
    "accept",
    "check_dataset",
    "check_document",
    "check_file",
    "check_points",
    "in_order",
    "length_problems",
]


def check_file(
    path: FilePath, settings: Iterable[str] = (), *, open_clips: bool = False
) -> Checked:
    """Check a spec file and its dataset's lists; `settings` are `field=value` overrides.

    With `open_clips`, every clip is probed too. An unreadable spec file is reported as a problem.
    """
    file = read_file(path)
    return check_points(override(file.document, settings), file.base, open_clips=open_clips)


def check_points(document: Document, base: FilePath, *, open_clips: bool = False) -> Checked:
    """Check every point of a document's sweep, and the lists of each point's dataset.

    Returns the first point with the problems of all points, each once. A document without a sweep
    is a single point.
    """
    checks: list[Checked] = []
    in_spec: list[tuple[Point, tuple[Problem, ...]]] = []
    in_data: list[tuple[Point, tuple[Problem, ...]]] = []
    datasets: dict[object, DatasetCheck] = {}
    for point in points(document):
        checked = check_document(point.document, base)
        # Most sweeps don't vary the data: its lists are read, and its clips probed, once.
        key = (checked.spec.data, checked.spec.model, checked.invalid)
        if key not in datasets:
            datasets[key] = check_dataset(checked, open_clips=open_clips)
        data = datasets[key]
        problems_of_data = accept(data.problems, checked.spec)
        with_path = [problem for problem in problems_of_data if problem.path]
        if data.samples is not None:
            with_path += length_problems(checked, data.samples)
        if open_clips:
            with_path += undecodable_images(checked)
        checks.append(checked)
        in_spec.append((point, (*checked.problems, *with_path)))
        without_path = tuple(problem for problem in problems_of_data if not problem.path)
        in_data.append((point, without_path))
    problems = (*in_order(merged(in_spec)), *merged(in_data))
    return evolve(checks[0], problems=problems)
