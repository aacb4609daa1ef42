"""`cvbundle archive`."""

import json
from pathlib import Path
from typing import get_args

import click

from cvbundle.archive.contents import Part
from cvbundle.archive.pack import SUFFIX, Archived, archive_bundle
from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._where import PathType, Text


class _Parts(click.ParamType[tuple[str, ...]]):
    """Parts, separated by commas."""

    name = "parts"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in value.split(",") if value)
        for part in parts:
            if part not in get_args(Part):
                self.fail(f"{part!r} is not one of {', '.join(get_args(Part))}", param, ctx)
        return parts


SECTION = "Bundles"


@click.command("archive")
@click.argument("bundle", type=Text())
@click.option(
    "-o",
    "--output",
    type=Text(),
    help=f"The file to write, or its URL (s3://…). [default: the bundle's name and {SUFFIX}]",
)
@click.option(
    "--with",
    "parts",
    type=_Parts(),
    default="",
    metavar="PARTS",
    help="What else to include: runs, data, model, separated by commas.",
)
@click.option("--sign", "key", type=PathType(), help="Sign BUNDLE with this ssh key.")
@click.option(
    "--provenance", is_flag=True, help="Add an in-toto statement, and an RO-Crate for each run."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: str,
    output: str | None,
    parts: tuple[Part, ...],
    key: Path | None,
    provenance: bool,
    as_json: bool,
) -> None:
    """Archive BUNDLE (a folder, or a prefix of its hash) as one file.

    The same content gives the same bytes. The last line of the output is the file's path.
    """
    opened = find_bundle(bundle)
    target = output or f"{opened.name}{SUFFIX}"
    archived = archive_bundle(opened, target, parts, key=key, provenance=provenance)
    for name in archived.left_out:
        echo(f"{name} is a symlink and is not archived", err=True)
    if as_json:
        echo(json.dumps(_as_data(archived)))
        return
    echo(f"{archived.files} files of {archived.bytes:,} bytes", err=True)
    echo(archived.file)


def _as_data(archived: Archived) -> dict[str, object]:
    return {
        "archive": archived.file,
        "hash": archived.bundle,
        "files": archived.files,
        "bytes": archived.bytes,
        "left_out": archived.left_out,
    }
