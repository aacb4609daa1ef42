"""Rules about the paths of a dataset's lists, and about repeated items."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cvbundle.dataset.layouts import list_fields
from cvbundle.rules.rule import Finding, Subject, also
from cvbundle.spec.rules import VALUE_RANGE


def leaves_root(name: str) -> bool:
    """Whether a path leads out of the folder that it is relative to."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


@also(VALUE_RANGE, reads=("data[]",))
def lists_outside(subject: Subject) -> Iterator[Finding]:
    """Lists are inside the dataset: elsewhere their paths would differ between machines."""
    for field in list_fields(subject.spec.data):
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
