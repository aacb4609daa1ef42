"""What was tried on a GPU and how it came out, as a page for a person."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from attrs import field, frozen

Outcome = Literal["passed", "failed", "skipped"]


@frozen
class Check:
    """One thing that was tried."""

    name: str
    outcome: Outcome
    detail: str = ""
    """What was seen, or why it failed or was left out."""


@frozen
class Measurement:
    """What was estimated and what was measured; None where one of the two is not known."""

    name: str
    estimated: float | None
    measured: float | None
    unit: str


@frozen(kw_only=True)
class Report:
    """All that one machine showed."""

    machine: Sequence[tuple[str, str]]
    """What it is: a name and what it says of itself."""
    checks: tuple[Check, ...]
    measurements: tuple[Measurement, ...] = field(default=())

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return any(check.outcome == "failed" for check in self.checks)


def render(report: Report, title: str) -> str:
    """The report in Markdown."""
    return "\n".join(_lines(report, title)) + "\n"


def _lines(report: Report, title: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    yield "Written by `just gpu`."
    yield ""
    yield from _table(("machine", ""), report.machine)
    yield ""
    yield from _table(
        ("check", "outcome", ""),
        ((check.name, check.outcome, check.detail) for check in report.checks),
    )
    if report.measurements:
        yield ""
        yield from _table(
            ("of 2b at its real size", "estimate", "measured", "measured / estimate"),
            map(_row, report.measurements),
        )


def _row(found: Measurement) -> tuple[str, str, str, str]:
    ratio = "-"
    if found.estimated and found.measured is not None:
        ratio = f"{found.measured / found.estimated:.2f}"
    return (found.name, _value(found.estimated, found), _value(found.measured, found), ratio)


def _value(value: float | None, of: Measurement) -> str:
    return "-" if value is None else f"{value:.2f} {of.unit}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def file_name(device: str) -> str:
    """The report's name: that of the device, in lower case, as far as a file may have it."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-") + ".md"
