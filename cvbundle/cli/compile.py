"""`cvbundle compile`."""

import json
from pathlib import Path

import click

from cvbundle.bundle.build import compile_file
from cvbundle.bundle.store import STORE
from cvbundle.cli.report import report


@click.command("compile")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a field.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=STORE,
    show_default=True,
    help="Folder that bundles go to.",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where the clips are.")
@click.option("--model-path", help="Where the base model is, or its hub id.")
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(
    spec: Path,
    settings: tuple[str, ...],
    out: Path,
    data_root: Path | None,
    model_path: str | None,
    as_json: bool,
) -> None:
    """Check SPEC and its clips, and write a bundle.

    The last line of the output is the bundle's path.
    """
    compiled = compile_file(
        spec, out, settings=settings, data_root=data_root, model_path=model_path
    )
    report(compiled.warnings)
    if as_json:
        result = {
            "bundle": str(compiled.bundle),
            "hash": compiled.digest,
            "created": compiled.created,
            "samples": compiled.samples,
        }
        click.echo(json.dumps(result))
        return
    said = "compiled" if compiled.created else "exists already"
    click.echo(f"{said}: {compiled.samples} samples, sha256 {compiled.digest}", err=True)
    click.echo(compiled.bundle)
