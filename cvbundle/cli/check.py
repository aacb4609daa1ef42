"""`cvbundle check`."""

from pathlib import Path

import click

from cvbundle.cli.report import report
from cvbundle.rules.check import check_file


@click.command("check")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a field.")
@click.option("--data", "open_clips", is_flag=True, help="Open every clip, too.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How problems are shown.",
)
def command(spec: Path, settings: tuple[str, ...], open_clips: bool, style: str) -> int:
    """Say everything that is wrong with SPEC."""
    checked = check_file(spec, settings, open_clips=open_clips)
    report(checked.problems, style)
    if style == "text" and not checked.problems:
        click.echo(f"{spec}: no problems")
    return 1 if checked.blocked else 0
