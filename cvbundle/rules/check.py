"""Check a spec: from its text to a resolved spec and every problem in it and its dataset."""

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

    With `open_clips`, every clip is opened too. A file that can't be read is a problem like others.
    """
    file = read_file(path)
    return check_points(override(file.document, settings), file.base, open_clips=open_clips)


def check_points(document: Document, base: FilePath, *, open_clips: bool = False) -> Checked:
    """Check every point of a document's sweep, and the lists that each point's data names.

    What is returned is the first point with the problems of all of them, each once. A document
    without a sweep is its own only point.
    """
    checks: list[Checked] = []
    in_spec: list[tuple[Point, tuple[Problem, ...]]] = []
    in_data: list[tuple[Point, tuple[Problem, ...]]] = []
    listed: dict[object, DatasetCheck] = {}
    for point in points(document):
        checked = check_document(point.document, base)
        # Most sweeps leave the data alone: its lists are read, and its clips opened, once.
        told = (checked.spec.data, checked.spec.model, checked.invalid)
        if told not in listed:
            listed[told] = check_dataset(checked, open_clips=open_clips)
        data = listed[told]
        found = accept(data.problems, checked.spec)
        here = [problem for problem in found if problem.path]
        if data.samples is not None:
            here += length_problems(checked, data.samples)
        if open_clips:
            here += undecodable_images(checked)
        checks.append(checked)
        in_spec.append((point, (*checked.problems, *here)))
        in_data.append((point, tuple(problem for problem in found if not problem.path)))
    problems = (*in_order(merged(in_spec)), *merged(in_data))
    return evolve(checks[0], problems=problems)
