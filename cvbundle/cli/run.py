"""`cvbundle run`."""

import json
import shlex
from functools import partial

import click

from cvbundle.bundle.runs import Choice
from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._run_options import with_run_options
from cvbundle.cli._where import Text
from cvbundle.execution.launch import Outcome, RunOptions, execute, plan_launch, result_files

SECTION = "Runs"


@click.command("run")
@click.argument("bundle", type=Text())
@with_run_options
@click.option("--resume", "choice", flag_value="resume", help="Continue the newest run.")
@click.option("--fresh", "choice", flag_value="fresh", help="Begin a new run.")
@click.option("--dry-run", is_flag=True, help="Check everything, and show what would be executed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: str, options: RunOptions, choice: Choice | None, dry_run: bool, as_json: bool
) -> int:
    """Train BUNDLE (a folder, or a prefix of its hash), or continue its newest run."""
    launch = plan_launch(
        find_bundle(bundle),
        options,
        choice=choice or "auto",
        dry=dry_run,
        notify=partial(echo, err=True),
    )
    for drift in launch.drift:
        echo(f"drift: {drift}", err=True)
    if dry_run:
        settings = [f"{name}={shlex.quote(value)}" for name, value in launch.environment.items()]
        echo(" ".join([*settings, shlex.join(launch.command)]))
        return 0
    finished = launch.finished
    if finished is not None:
        echo(f"run {finished.name} is complete; --fresh begins another", err=True)
    outcome = Outcome(0, finished) if finished else execute(launch)
    if outcome.failure is not None:
        echo(f"error: {outcome.failure}: run it again to continue", err=True)
    _show(outcome, as_json)
    return outcome.code


def _show(outcome: Outcome, as_json: bool) -> None:
    run = outcome.run
    is_complete = run is not None and run.is_complete and outcome.code == 0
    files = [str(path) for path in result_files(run)] if run is not None and is_complete else []
    if as_json:
        echo(
            json.dumps(
                {
                    "run": None if run is None else str(run.folder),
                    "status": "failed" if run is None else run.status,
                    "reason": outcome.failure or (None if run is None else run.reason),
                    "final_loss": None if run is None else run.record.final_loss,
                    "files": files,
                }
            )
        )
        return
    for path in files:
        echo(path)
