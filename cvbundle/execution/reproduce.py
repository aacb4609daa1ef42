"""Train a bundle again and say whether the same came of it, and if not, from which step on."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from cvbundle.bundle.change import Change
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.results import read_rows
from cvbundle.bundle.runs import Run, list_runs
from cvbundle.bundle.settings import read_spec
from cvbundle.execution.environments import Say
from cvbundle.execution.launch import Outcome, execute, plan_launch
from cvbundle.execution.verification import verify_bundle
from cvbundle.problems import UserError

_CIRCUMSTANCES = (
    "device",
    "device_name",
    "threads",
    "attention",
    "world_size",
    "platform",
    "torch",
)
"""What `run.json` says of an attempt that can decide the last bits of a result."""


@frozen
class StepDifference:
    """The first step at which two runs are not the same."""

    step: int
    recorded: Mapping[str, Any]
    """What the metrics say of that step, as far as it differs; empty where it wasn't reached."""
    reproduced: Mapping[str, Any]


@frozen(kw_only=True)
class RunComparison:
    """How a run differs from the one that it should repeat."""

    recorded: Run
    reproduced: Run
    steps: int
    """Steps that are the same, up to the first that isn't."""
    first: StepDifference | None
    files: tuple[Change, ...]
    """Files of the result by their digests, as far as they differ."""
    circumstances: tuple[Change, ...]
    """Devices, packages and the like that were not the same."""
    promised: bool = True
    """Whether the bundle promises the same bits: not with `training.deterministic: false`."""
    loss_apart: float = 0.0
    """The largest difference of a step's loss, as a share of the recorded one."""

    @property
    def identical(self) -> bool:
        """Whether every step and every file of the result is the same."""
        return self.first is None and not self.files


@frozen
class Reproduction:
    """What became of training again: a comparison only where it came to its end."""

    outcome: Outcome
    comparison: RunComparison | None


def reproduce(
    bundle: Path,
    number: int | None = None,
    *,
    num_processes: int | None = None,
    allow_drift: bool = False,
    trust: bool = False,
    venv: bool = False,
    say: Say = lambda _: None,
) -> Reproduction:
    """Verify a bundle and all that it names, train it in a new run, and compare the two.

    Args:
        bundle: the bundle's folder.
        number: which run to repeat; the newest complete one if None.
        num_processes: how many processes train; as many as in the recorded run if None.
        allow_drift: train with other package versions than the bundle's.
        trust: run code that this installation would not write.
        venv: train in an environment of the bundle's own packages.
        say: hears what takes long.

    Raises:
        UserError: there is no such run, the bundle isn't whole, or it can't be run here.
    """
    recorded = recorded_run(bundle, number)
    found = verify_bundle(bundle)
    wrong = [*found.files, *(found.clips or ()), *(found.weights or ())]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UserError(f"{bundle.name} can't be reproduced: {'; '.join(wrong[:3])}{more}")
    if num_processes is None:
        trained_by = _attempts(recorded)[-1].get("world_size")
        planned = read_spec(bundle).launch.num_processes
        num_processes = trained_by if trained_by != planned else None
    launch = plan_launch(
        bundle,
        choice="fresh",
        num_processes=num_processes,
        allow_drift=allow_drift,
        trust=trust,
        venv=venv,
        say=say,
    )
    before = {run.folder for run in list_runs(bundle_runs(bundle))}
    promised = read_spec(bundle).training.deterministic
    if not promised:
        say("training.deterministic is false: the same bits are not promised")
    outcome = execute(launch)
    made = outcome.run
    if outcome.code or made is None or made.folder in before or not made.complete:
        return Reproduction(evolve(outcome, code=outcome.code or 3), None)
    return Reproduction(outcome, compare_runs(recorded, made, promised=promised))


def recorded_run(bundle: Path, number: int | None) -> Run:
    """The run to repeat.

    Raises:
        UserError: there is none, or it didn't come to its end.
    """
    runs = list_runs(bundle_runs(bundle))
    if number is None:
        complete = [run for run in runs if run.complete]
        if not complete:
            raise UserError(f"{bundle.name} has no complete run to compare with: run it first")
        return complete[-1]
    for run in runs:
        if int(run.folder.name) == number:
            if not run.complete:
                raise UserError(f"run {run.folder.name} is {run.status}: name one that is complete")
            return run
    there = ", ".join(run.folder.name for run in runs) or "none"
    raise UserError(f"{bundle.name} has no run {number}; there are: {there}")


def compare_runs(recorded: Run, reproduced: Run, *, promised: bool = True) -> RunComparison:
    """Compare two runs of a bundle step by step, then by the files of their results."""
    steps, first = _first_difference(recorded, reproduced)
    return RunComparison(
        recorded=recorded,
        reproduced=reproduced,
        steps=steps,
        first=first,
        files=_changes(recorded.record.get("digests", {}), reproduced.record.get("digests", {})),
        circumstances=_changes(_circumstances(recorded), _circumstances(reproduced)),
        promised=promised,
        loss_apart=_loss_apart(recorded, reproduced),
    )


def _loss_apart(recorded: Run, reproduced: Run) -> float:
    """By how much the losses of the same step differ at most, as a share of the recorded one."""
    pairs = zip(read_rows(recorded.folder), read_rows(reproduced.folder), strict=False)
    apart = (abs(new["loss"] - old["loss"]) / abs(old["loss"]) for old, new in pairs if old["loss"])
    return max(apart, default=0.0)


def _first_difference(recorded: Run, reproduced: Run) -> tuple[int, StepDifference | None]:
    same = 0
    for one, other in zip_longest(read_rows(recorded.folder), read_rows(reproduced.folder)):
        if one != other:
            old, new = one or {}, other or {}
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            return same, StepDifference(
                (one or other)["step"],
                {name: old[name] for name in names if name in old},
                {name: new[name] for name in names if name in new},
            )
        same += 1
    return same, None


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def _attempts(run: Run) -> list[Mapping[str, Any]]:
    return run.record.get("attempts") or [{}]


def _circumstances(run: Run) -> dict[str, str]:
    """With what a run was trained; several values where its attempts were not alike."""
    found: dict[str, dict[str, None]] = {}
    for attempt in _attempts(run):
        for name in _CIRCUMSTANCES:
            if name in attempt:
                # The build of torch (+cpu, +cu130) is no part of its version in a lock.
                said = "torch's build" if name == "torch" else name.replace("_", " ")
                found.setdefault(said, {})[str(attempt[name])] = None
        for name, version in dict(_packages(attempt)).items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(values) for name, values in found.items()}


def _packages(attempt: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The versions that an attempt really had: the lock's, but for what it says of drift."""
    yield from attempt.get("packages", {}).items()
    for drift in attempt.get("drift", ()):
        name, _, versions = drift.partition(": ")
        yield name, versions.partition(" instead of ")[0]
