"""`cvbundle check`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cvbundle.cli._echo import echo
from cvbundle.cli._report import report
from cvbundle.compiler.check import check_file
from cvbundle.problems import UserError

if TYPE_CHECKING:
    from cvbundle.compiler.scanning import Scanning

SECTION = "Specs"


@click.command("check")
@click.argument("spec", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a field.")
@click.option("--data", "open_clips", is_flag=True, help="Also open every clip.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="Output format.",
)
@click.option("--fix", is_flag=True, help="Apply the suggested values to SPEC, then check.")
@click.option("--yes", is_flag=True, help="With --fix: show the changes, but don't ask.")
def command(
    spec: Path, settings: tuple[str, ...], open_clips: bool, style: str, fix: bool, yes: bool
) -> int:
    """Report all problems of SPEC, a file or - for standard input."""
    if yes and not fix:
        raise click.UsageError("--yes is for --fix")
    if fix:
        _fix(spec, settings, ask=not yes)
    checked = check_file(spec, settings, scanning=_scanning() if open_clips else None)
    report(checked.problems, style)
    if style == "text" and not checked.problems:
        echo(f"{checked.document.file}: no problems")
    return 1 if checked.blocked else 0


def _scanning() -> "Scanning":
    # A check without --data opens no clip and shows no progress.
    from cvbundle.compiler.scanning import Scanning
    from cvbundle.dataset.progress import ProgressBar

    return Scanning(progress=ProgressBar())


def _fix(spec: Path, settings: tuple[str, ...], *, ask: bool) -> None:
    """Show the changes, and apply them if confirmed."""
    # A check without --fix doesn't import these.
    import difflib

    from cvbundle.compiler.fix import plan_fix

    try:
        plan = plan_fix(spec, settings)
    except UserError as error:
        raise click.UsageError(str(error)) from None
    if not plan.changes:
        echo(f"{spec}: no problem that can be fixed automatically", err=True)
        return
    old, new = (text.decode("utf-8-sig").splitlines() for text in (plan.before, plan.after))
    for line in difflib.unified_diff(old, new, str(spec), f"{spec} (fixed)", lineterm=""):
        echo(line, err=True)
    if ask and not _confirmed(spec):
        echo(f"{spec}: nothing is written", err=True)
        return
    plan.write()
    echo(f"{spec}: written", err=True)


def _confirmed(spec: Path) -> bool:
    """Whether the user confirms; False if there is no one to ask."""
    if sys.stdin is None:
        return False
    try:
        return click.confirm(f"Write this to {spec}?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        return False
