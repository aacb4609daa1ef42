"""`cvbundle demo`."""

import shlex
from pathlib import Path
from typing import get_args

import click

from cvbundle.cli._echo import echo
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import DEFAULT_MODEL, MODELS

SECTION = "Begin"


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"), required=False)
@click.option("--model", type=click.Choice(list(MODELS)), default=DEFAULT_MODEL, show_default=True)
@click.option("--type", "kind", type=click.Choice(get_args(TrainingType)), default="lora")
def command(folder: Path, model: str, kind: TrainingType) -> None:
    """Write a tiny model, a few clips and a spec into FOLDER, to try everything on a CPU."""
    # Writing clips needs a video library, which other commands don't.
    from cvbundle.authoring.demo import write_demo

    demo = write_demo(folder, model, kind)
    echo("wrote" if demo.created else "already exists:", err=True, nl=False)
    echo(
        f" {folder}/: model, data, {demo.spec.name}; now compile it, and run the bundle:", err=True
    )
    spec = shlex.quote(str(demo.spec))
    echo(f"cvbundle compile {spec}")
    echo(f'cvbundle run "$(cvbundle compile {spec})"')
