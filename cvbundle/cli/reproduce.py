"""`cvbundle reproduce`."""

import json
from functools import partial

import attrs
import click

from cvbundle.bundle.store import find_bundle
from cvbundle.cli.foreign import shown_if_foreign
from cvbundle.cli.terminal import console, heading, plain, table
from cvbundle.cli.where import Text
from cvbundle.execution.reproduce import Reproduction, RunComparison, reproduce


@click.command("reproduce")
@click.argument("bundle", type=Text())
@click.option("--run", "number", type=click.IntRange(min=1), help="The run to repeat.")
@click.option("--num-processes", type=click.IntRange(min=1), help="Instead of that run's number.")
@click.option("--allow-drift", is_flag=True, help="Run with other package versions; recorded.")
@click.option("--venv", is_flag=True, help="Use an environment made of BUNDLE's requirements.txt.")
@click.option("--trust", is_flag=True, help="Run code that this installation would not write.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: str,
    number: int | None,
    num_processes: int | None,
    allow_drift: bool,
    trust: bool,
    venv: bool,
    as_json: bool,
) -> int:
    """Train BUNDLE (a folder, or the beginning of its hash) again, and compare with a run of it.

    Exits with 0 where every step and the result are the same, with 1 where they are not, and as
    `run` does where the training doesn't come to its end.
    """
    with shown_if_foreign():
        done = reproduce(
            find_bundle(bundle),
            number,
            num_processes=num_processes,
            allow_drift=allow_drift,
            trust=trust,
            venv=venv,
            say=partial(click.echo, err=True),
        )
    if done.outcome.failure is not None:
        click.echo(f"error: {done.outcome.failure}", err=True)
    if as_json:
        click.echo(json.dumps(_as_data(done)))
    elif done.comparison is not None:
        _show(done.comparison)
    if done.comparison is None:
        return done.outcome.code
    return 0 if done.comparison.identical else 1


def _show(found: RunComparison) -> None:
    out = console()
    runs = f"run {found.reproduced.folder.name} and run {found.recorded.folder.name}"
    if found.identical:
        files = ", ".join(found.recorded.record.get("digests", {}))
        out.print(plain(f"identical: {runs}, all {found.steps:,} steps and {files}", "green"))
    elif found.first is not None:
        out.print(plain(f"not reproduced: {runs} differ from step {found.first.step:,} on", "red"))
        for name in {**found.first.recorded, **found.first.reproduced}:
            old, new = found.first.recorded.get(name), found.first.reproduced.get(name)
            out.print(plain(f"  {name}: {_value(new)} instead of {_value(old)}"))
    else:
        out.print(plain(f"not reproduced: {runs} are the same in all steps, but not in", "red"))
    for change in found.files:
        out.print(plain(f"  {change.name}: {_value(change.after)} instead of {change.before}"))
    if not found.identical and not found.promised:
        out.print(
            "the bundle doesn't promise the same bits (training.deterministic is false): "
            f"losses of a step are at most {100 * found.loss_apart:.2g} % apart"
        )
    if found.circumstances:
        out.print(heading("what was not the same"))
        rows = table("", f"run {found.recorded.folder.name}", f"run {found.reproduced.folder.name}")
        for change in found.circumstances:
            rows.add_row(plain(f"  {change.name}"), plain(change.before), plain(change.after))
        out.print(rows)
    elif found.promised and not found.identical:
        out.print("packages and devices are the same: look at the cache of encodings")


def _value(value: object) -> object:
    return "nothing" if value is None else value


def _as_data(done: Reproduction) -> dict[str, object]:
    found = done.comparison
    made = done.outcome.run
    return {
        "run": str(made.folder) if made else None,
        "code": done.outcome.code,
        "recorded": str(found.recorded.folder) if found else None,
        "identical": found.identical if found else None,
        "promised": found.promised if found else None,
        "loss_apart": found.loss_apart if found else None,
        "steps": found.steps if found else None,
        "first_difference": attrs.asdict(found.first) if found and found.first else None,
        "files": [attrs.asdict(change) for change in found.files] if found else [],
        "circumstances": [attrs.asdict(c) for c in found.circumstances] if found else [],
    }
