"""Write a dataset's manifest, row by row."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from cvbundle.dataset.manifest import Sample, Skipped, sample_line, skipped_line
from cvbundle.files.durable import new_file
from cvbundle.problems import Problem, UserError


@frozen(kw_only=True)
class Summary:
    """The result of writing a manifest."""

    samples: int
    skipped: int
    clip_bytes: int
    """Bytes of the samples' clips."""
    problems: tuple[Problem, ...]
    refused: Mapping[str, UserError] = {}
    """Why a list can't be used, by its field in `data`."""

    @property
    def blocked(self) -> bool:
        """Whether a problem forbids use of the written files."""
        return bool(self.refused) or any(problem.blocks for problem in self.problems)


def write_manifest(
    rows: Iterable[Sample | Skipped | Problem], dataset: Path, skipped: Path
) -> Summary:
    """Write the samples to `dataset` and the skipped ones, if any, to `skipped`.

    Rows are streamed, so memory doesn't grow with their number; problems are collected. Both files
    appear once all rows are written, or not at all.
    """
    samples = skipped_count = clip_bytes = 0
    problems = []
    with ExitStack() as files:
        lines = files.enter_context(new_file(dataset))
        others: BinaryIO | None = None
        for row in rows:
            if isinstance(row, Sample):
                lines.write(sample_line(row))
                samples += 1
                clip_bytes += row.size
            elif isinstance(row, Skipped):
                others = others or files.enter_context(new_file(skipped))
                others.write(skipped_line(row))
                skipped_count += 1
            else:
                problems.append(row)
    return Summary(
        samples=samples, skipped=skipped_count, clip_bytes=clip_bytes, problems=tuple(problems)
    )
