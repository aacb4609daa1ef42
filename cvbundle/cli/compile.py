"""`cvbundle compile`."""

import json
from pathlib import Path
from typing import Any

import attrs
import click

from cvbundle.cli._echo import echo
from cvbundle.cli._report import report
from cvbundle.cli._where import PathType, Text, with_places, with_store
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.compiler.scanning import Scanning
from cvbundle.dataset.progress import ProgressBar
from cvbundle.model.memory import render_estimate
from cvbundle.model.time import render_training

SECTION = "Specs"


@click.command("compile")
@click.argument("spec", type=PathType())
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Override a field.")
@with_store
@with_places
@click.option("--rehash", is_flag=True, help="Read every clip and weight again, without caches.")
@click.option(
    "--scan-on",
    type=Text(),
    metavar="ADDRESS",
    help="Open clips on the workers of a Dask scheduler.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    spec: Path,
    settings: tuple[str, ...],
    out: Path,
    data_root: Path | None,
    model_path: str | None,
    rehash: bool,
    scan_on: str | None,
    as_json: bool,
) -> None:
    """Check SPEC and its clips, and write a bundle; one for each point of a sweep.

    The last line of the output is the bundle's path.
    """
    compilation = compile_file(
        spec,
        out,
        settings=settings,
        data_root=data_root,
        model_path=model_path,
        scanning=Scanning(cluster=scan_on, rehash=rehash, progress=ProgressBar()),
    )
    report(compilation.warnings)
    if as_json:
        results = [_as_data(compiled) for compiled in compilation.bundles]
        echo(json.dumps(results if len(results) > 1 else results[0]))
        return
    for compiled in compilation.bundles:
        outcome = "compiled" if compiled.created else "already exists"
        at = f" at {compiled.point}" if compiled.point else ""
        echo(f"{outcome}{at}: {compiled.samples} samples, sha256 {compiled.digest}", err=True)
    if len(compilation.bundles) == 1:
        echo(render_estimate(compilation.only.memory), err=True)
        echo(render_training(compilation.only.training), err=True)
    for compiled in compilation.bundles:
        echo(compiled.bundle)


def _as_data(compiled: Compiled) -> dict[str, Any]:
    return {
        "bundle": str(compiled.bundle),
        "hash": compiled.digest,
        "created": compiled.created,
        "samples": compiled.samples,
        "point": compiled.point,
        "memory": attrs.asdict(compiled.memory),
        "training": attrs.asdict(compiled.training) | {"hours": compiled.training.hours},
    }
