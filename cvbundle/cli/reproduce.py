"""`cvbundle reproduce`."""

import json
from functools import partial

import attrs
import click

from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._run_options import with_run_options
from cvbundle.cli._terminal import console, heading, plain, table
from cvbundle.cli._where import Text
from cvbundle.execution.launch import RunOptions
from cvbundle.execution.reproduce import Reproduction, reproduce
from cvbundle.execution.run_comparison import RunComparison

SECTION = "Runs"


@click.command("reproduce")
@click.argument("bundle", type=Text())
@click.option("--run", "number", type=click.IntRange(min=1), help="The run to reproduce.")
@with_run_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: str, number: int | None, options: RunOptions, as_json: bool) -> int:
    """Train BUNDLE (a folder, or a prefix of its hash) again, and compare with a run of it.

    Exits with 0 if every step and the result are the same, with 1 if they are not, and as `run`
    does if the training doesn't reach its end.
    """
    done = reproduce(
        find_bundle(bundle),
        number,
        options,
        notify=partial(echo, err=True),
    )
    if done.outcome.failure is not None:
        echo(f"error: {done.outcome.failure}", err=True)
    if as_json:
        echo(json.dumps(_as_data(done)))
    elif done.comparison is not None:
        _show(done.comparison)
    if done.comparison is None:
        return done.outcome.code
    return 0 if done.comparison.identical else 1


def _show(comparison: RunComparison) -> None:
    out = console()
    runs = f"run {comparison.reproduced.name} and run {comparison.recorded.name}"
    if comparison.identical:
        files = ", ".join(comparison.recorded.record.digests)
        out.print(plain(f"identical: {runs}, all {comparison.steps:,} steps and {files}", "green"))
    elif comparison.first is not None:
        first = comparison.first
        out.print(plain(f"not reproduced: {runs} differ from step {first.step:,} on", "red"))
        for name in {**first.recorded, **first.reproduced}:
            old, new = first.recorded.get(name), first.reproduced.get(name)
            out.print(plain(f"  {name}: {_value(new)} instead of {_value(old)}"))
    else:
        out.print(plain(f"not reproduced: {runs} are the same in all steps, but not in", "red"))
    for change in comparison.files:
        out.print(plain(f"  {change.name}: {_value(change.after)} instead of {change.before}"))
    if not comparison.identical and not comparison.is_deterministic:
        out.print(
            "the bundle doesn't promise the same bits (training.deterministic is false): "
            f"losses of a step are at most {100 * comparison.loss_apart:.2g} % apart"
        )
    if comparison.conditions:
        out.print(heading("what else differs"))
        rows = table("", f"run {comparison.recorded.name}", f"run {comparison.reproduced.name}")
        for change in comparison.conditions:
            rows.add_row(plain(f"  {change.name}"), plain(change.before), plain(change.after))
        out.print(rows)
    elif comparison.is_deterministic and not comparison.identical:
        out.print("packages and devices are the same: look at the cache of encodings")


def _value(value: object) -> object:
    return "nothing" if value is None else value


def _as_data(done: Reproduction) -> dict[str, object]:
    comparison, run = done.comparison, done.outcome.run
    data: dict[str, object] = {
        "run": str(run.folder) if run else None,
        "code": done.outcome.code,
        "recorded": None,
        "identical": None,
        "promised": None,
        "loss_apart": None,
        "steps": None,
        "first_difference": None,
        "files": [],
        "circumstances": [],
    }
    if comparison is not None:
        data |= {
            "recorded": str(comparison.recorded.folder),
            "identical": comparison.identical,
            "promised": comparison.is_deterministic,
            "loss_apart": comparison.loss_apart,
            "steps": comparison.steps,
            "first_difference": comparison.first and attrs.asdict(comparison.first),
            "files": [attrs.asdict(change) for change in comparison.files],
            "circumstances": [attrs.asdict(change) for change in comparison.conditions],
        }
    return data
