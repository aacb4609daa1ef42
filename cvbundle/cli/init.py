"""`cvbundle init`."""

import contextlib
import os
from pathlib import Path

import click

from cvbundle.authoring.starters import DEFAULT, find_starter, overview, starter_text
from cvbundle.cli._echo import echo
from cvbundle.files.durable import write_bytes
from cvbundle.problems import UserError

SECTION = "Begin"


@click.command("init", epilog=f"\b\nTemplates:\n{overview()}")
@click.argument("path", type=click.Path(path_type=Path, allow_dash=True), default="spec.yaml")
@click.option("--template", "name", metavar="NAME", help=f"The starter spec. [default: {DEFAULT}]")
@click.option(
    "--from",
    "launched",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Convert a launch script of zai-org/CogVideo, or a config of CogKit.",
)
def command(path: Path, name: str | None, launched: Path | None) -> None:
    """Write a starter spec to PATH (spec.yaml; - prints it), never over an existing file."""
    if name is not None and launched is not None:
        raise click.UsageError("--template and --from can't be used together")
    text = _starter(name or DEFAULT) if launched is None else _converted(launched)
    if str(path) == "-":
        echo(text, nl=False)
        return
    _write_new(path, text)
    todo = "set data.root, then" if launched is None else "next"
    echo(f"{path}: written; {todo}: cvbundle check {path}")


def _starter(name: str) -> str:
    try:
        return starter_text(find_starter(name))
    except UserError as error:
        raise click.UsageError(str(error)) from None


def _converted(launched: Path) -> str:
    from cvbundle.authoring.upstream.convert import convert_file

    converted = convert_file(launched)
    for note in converted.notes:
        echo(f"note: {note}", err=True)
    return converted.text


def _write_new(path: Path, text: str) -> None:
    """Write a new file atomically.

    Raises:
        UserError: the path already exists.
    """
    try:
        # Reserves the name, so that no other file is overwritten.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise UserError(f"{path} already exists: use another file") from None
    with contextlib.ExitStack() as failed:
        failed.callback(path.unlink)
        write_bytes(path, text.encode())
        failed.pop_all()
