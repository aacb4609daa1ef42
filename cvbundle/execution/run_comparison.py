"""Compare two runs of a bundle: each step, then the files of the result, and how they ran."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from attrs import frozen

from cvbundle.bundle.difference import Change, changes
from cvbundle.bundle.run import Attempt, Run

_CONDITIONS = {
    "device": "device",
    "device_name": "device name",
    "threads": "threads",
    "attention": "attention",
    "world_size": "world size",
    "platform": "platform",
    # A lock has torch's version without its build (+cpu, +cu130).
    "torch": "torch's build",
}
"""What can decide the last bits of a result, and is recorded of each attempt."""


@frozen
class StepDifference:
    """The first step at which two runs differ."""

    step: int
    recorded: Mapping[str, Any]
    """The metrics of that step that differ; empty if the run didn't reach it."""
    reproduced: Mapping[str, Any]


@frozen(kw_only=True)
class RunComparison:
    """How a run differs from the one that it should reproduce."""

    recorded: Run
    reproduced: Run
    steps: int
    """Equal steps, up to the first that differs."""
    first: StepDifference | None
    files: tuple[Change, ...]
    """Files of the result whose digests differ."""
    conditions: tuple[Change, ...]
    """Devices, packages and the like that differ."""
    is_deterministic: bool = True
    """Whether the bundle promises the same bits: not with `training.deterministic: false`."""
    loss_apart: float = 0.0
    """The largest relative difference between the losses of a step."""

    @property
    def identical(self) -> bool:
        """Whether every step and every file of the result is the same."""
        return self.first is None and not self.files


def compare_runs(recorded: Run, reproduced: Run, *, is_deterministic: bool = True) -> RunComparison:
    """Compare two runs of a bundle.

    Raises:
        DamagedFile: a record or the metrics of one are damaged.
    """
    steps, first = _first_difference(recorded, reproduced)
    return RunComparison(
        recorded=recorded,
        reproduced=reproduced,
        steps=steps,
        first=first,
        files=changes(recorded.record.digests, reproduced.record.digests),
        conditions=changes(_conditions(recorded), _conditions(reproduced)),
        is_deterministic=is_deterministic,
        loss_apart=_loss_apart(recorded, reproduced),
    )


def _loss_apart(recorded: Run, reproduced: Run) -> float:
    pairs = zip(recorded.metrics(), reproduced.metrics(), strict=False)
    apart = (abs(new["loss"] - old["loss"]) / abs(old["loss"]) for old, new in pairs if old["loss"])
    return max(apart, default=0.0)


def _first_difference(recorded: Run, reproduced: Run) -> tuple[int, StepDifference | None]:
    """The number of equal steps, and the first that differs."""
    equal = 0
    for one, other in zip_longest(recorded.metrics(), reproduced.metrics()):
        if one != other:
            old, new = one or {}, other or {}
            names = [change.name for change in changes(old, new)]
            return equal, StepDifference(
                (one or other)["step"],
                {name: old[name] for name in names if name in old},
                {name: new[name] for name in names if name in new},
            )
        equal += 1
    return equal, None


def _conditions(run: Run) -> dict[str, str]:
    """How a run was trained; several values if its attempts differ."""
    values: dict[str, dict[str, None]] = {}
    for attempt in run.attempts:
        for field, title in _CONDITIONS.items():
            value = getattr(attempt, field)
            if value is not None:
                values.setdefault(title, {})[str(value)] = None
        for name, version in _installed(attempt).items():
            values.setdefault(name, {})[version] = None
    return {name: ", ".join(each) for name, each in values.items()}


def _installed(attempt: Attempt) -> dict[str, str]:
    """The versions of an attempt's packages: the locked ones, except for drift."""
    drift = {each.package: each.installed or "not installed" for each in attempt.drift}
    return {**attempt.packages, **drift}
