"""Train a bundle again and compare the result with a recorded run's."""

from attrs import evolve, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.difference import listed
from cvbundle.bundle.run import Run
from cvbundle.bundle.runs import newest_complete
from cvbundle.execution.environments import Notify
from cvbundle.execution.launch import AS_COMPILED, Outcome, RunOptions, execute, plan_launch
from cvbundle.execution.run_comparison import RunComparison, compare_runs
from cvbundle.execution.verification import verify_bundle
from cvbundle.problems import UserError


@frozen
class Reproduction:
    """The outcome of training again, with a comparison if it was trained to the end."""

    outcome: Outcome
    comparison: RunComparison | None


def reproduce(
    bundle: Bundle,
    number: int | None = None,
    options: RunOptions = AS_COMPILED,
    *,
    notify: Notify = lambda _: None,
) -> Reproduction:
    """Verify a bundle and its inputs, train it in a new run, and compare that with a recorded run.

    Args:
        bundle: the bundle.
        number: the run to reproduce; the newest complete one if None.
        options: how it is run; `num_processes` is the recorded run's unless set.
        notify: called with a sentence before something that takes long.

    Raises:
        ForeignCode: its code is not what this installation would write.
        UserError: there is no such run, or the bundle differs, or it can't be run here.
    """
    recorded = recorded_run(bundle, number)
    checked = verify_bundle(bundle)
    differing = [*checked.files, *(checked.clips or ()), *(checked.weights or ())]
    if differing:
        raise UserError(f"{bundle.name} can't be reproduced: {listed(differing)}")
    spec = bundle.spec
    if options.num_processes is None and recorded.attempts:
        world_size = recorded.attempts[-1].world_size
        if world_size != spec.launch.num_processes:
            options = evolve(options, num_processes=world_size)
    launch = plan_launch(bundle, options, choice="fresh", notify=notify)
    before = {run.folder for run in bundle.runs}
    if not spec.training.deterministic:
        notify("training.deterministic is false: the same bits are not promised")
    outcome = execute(launch)
    run = outcome.run
    if outcome.code or run is None or run.folder in before or not run.is_complete:
        return Reproduction(evolve(outcome, code=outcome.code or 3), None)
    comparison = compare_runs(recorded, run, is_deterministic=spec.training.deterministic)
    return Reproduction(outcome, comparison)


def recorded_run(bundle: Bundle, number: int | None) -> Run:
    """The run to reproduce.

    Raises:
        UserError: there is none, or it isn't complete.
    """
    runs = bundle.runs
    if number is None:
        newest = newest_complete(runs)
        if newest is None:
            raise UserError(f"{bundle.name} has no complete run to compare with: run it first")
        return newest
    for run in runs:
        if run.number == number:
            if not run.is_complete:
                raise UserError(f"run {run.name} is {run.status}: choose one that is complete")
            return run
    existing = ", ".join(run.name for run in runs) or "none"
    raise UserError(f"{bundle.name} has no run {number}; there are: {existing}")
