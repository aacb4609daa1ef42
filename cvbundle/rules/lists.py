"""The lists of a dataset, and lists whose items are each given once."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cvbundle.rules.rule import Finding, Subject, also
from cvbundle.spec.rules import VALUE_RANGE
from cvbundle.spec.schema import Spec

LISTS = ("metadata", "caption_column", "video_column", "image_column")
"""The fields of `data` that name the lists of a dataset, or columns of a table."""


def list_fields(spec: Spec) -> tuple[str, ...]:
    """The fields of `data` that name a file, and not a column or a pattern."""
    if spec.data.metadata is not None:
        return ("metadata",)
    named = ((field, getattr(spec.data, field)) for field in LISTS)
    return tuple(field for field, name in named if name is not None and "*" not in name)


def leads_out(name: str) -> bool:
    """Whether a path is none below the folder it is to be taken from."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


@also(VALUE_RANGE, reads=("data[]",))
def lists_outside(subject: Subject) -> Iterator[Finding]:
    """Lists lie in the dataset: elsewhere their names would differ from machine to machine."""
    for field in list_fields(subject.spec):
        name = getattr(subject.spec.data, field)
        if leads_out(name):
            message = f"{name} leads out of the dataset"
            yield Finding(f"data.{field}", message, "write a path below data.root")


@also(VALUE_RANGE, reads=("tracking.report_to[]",))
def trackers_twice(subject: Subject) -> Iterator[Finding]:
    """Each tracker is named once."""
    yield from _twice("tracking.report_to", subject.spec.tracking.report_to)


@also(VALUE_RANGE, reads=("lora", "lora.target_modules[]"))
def targets_twice(subject: Subject) -> Iterator[Finding]:
    """Each target of the adapter is named once."""
    if subject.spec.lora is not None:
        yield from _twice("lora.target_modules", subject.spec.lora.target_modules)


def _twice(field: str, items: tuple[str, ...]) -> Iterator[Finding]:
    for index, item in enumerate(items):
        if item in items[:index]:
            yield Finding(field, f"{item} stands in {field} twice", "remove it", index=index)
