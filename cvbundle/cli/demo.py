"""`cvbundle demo`."""

import shlex
from pathlib import Path

import click

from cvbundle.spec.schema import TrainingType

_MODELS = (
    "cogvideox-2b",
    "cogvideox-5b",
    "cogvideox-5b-i2v",
    "cogvideox1.5-5b",
    "cogvideox1.5-5b-i2v",
)


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"), required=False)
@click.option("--model", type=click.Choice(_MODELS), default="cogvideox-2b", show_default=True)
@click.option("--type", "kind", type=click.Choice(["lora", "sft"]), default="lora")
def command(folder: Path, model: str, kind: TrainingType) -> None:
    """Write a tiny model, a few clips and a spec into FOLDER, to try everything on a CPU."""
    # Writing clips needs a video library, which other commands don't.
    from cvbundle.authoring.demo import write_demo

    demo = write_demo(folder, model, kind)
    click.echo("wrote" if demo.created else "already exists:", err=True, nl=False)
    click.echo(
        f" {folder}/: model, data, {demo.spec.name}; now compile it, and run the bundle:", err=True
    )
    spec = shlex.quote(str(demo.spec))
    click.echo(f"cvbundle compile {spec}")
    click.echo(f'cvbundle run "$(cvbundle compile {spec})"')
