"""Rules about the paths of a dataset's lists, and about repeated items."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cvbundle.rules.rule import Finding, Subject, also
from cvbundle.spec.rules import VALUE_RANGE
from cvbundle.spec.schema import Spec

LISTS = ("metadata", "caption_column", "video_column", "image_column")
"""The fields of `data` that name the lists of a dataset, or columns of a table."""


def list_fields(spec: Spec) -> tuple[str, ...]:
    """The fields of `data` that name a file, not a column or a pattern."""
    if spec.data.metadata is not None:
        return ("metadata",)
    named = ((field, getattr(spec.data, field)) for field in LISTS)
    return tuple(field for field, name in named if name is not None and "*" not in name)


def leaves_root(name: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


@also(VALUE_RANGE, reads=("data[]",))
def lists_outside(subject: Subject) -> Iterator[Finding]:
    """Lists are inside the dataset: elsewhere their paths would differ between machines."""
    for field in list_fields(subject.spec):
        name = getattr(subject.spec.data, field)
        if leaves_root(name):
            message = f"{name} is outside the dataset"
            yield Finding(f"data.{field}", message, "write a path below data.root")


@also(VALUE_RANGE, reads=("tracking.report_to[]",))
def repeated_trackers(subject: Subject) -> Iterator[Finding]:
    """Each tracker is listed once."""
    yield from _repeated("tracking.report_to", subject.spec.tracking.report_to)


@also(VALUE_RANGE, reads=("lora", "lora.target_modules[]"))
def repeated_targets(subject: Subject) -> Iterator[Finding]:
    """Each target of the adapter is listed once."""
    if subject.spec.lora is not None:
        yield from _repeated("lora.target_modules", subject.spec.lora.target_modules)


def _repeated(field: str, items: tuple[str, ...]) -> Iterator[Finding]:
    for index, item in enumerate(items):
        if item in items[:index]:
            yield Finding(field, f"{item} is repeated in {field}", "remove it", index=index)
