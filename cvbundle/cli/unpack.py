"""`cvbundle unpack`."""

import json
from pathlib import Path

import click

from cvbundle.bundle.store import STORE
from cvbundle.bundle.unpack import unpack_archive


@click.command("unpack")
@click.argument("archive")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=STORE,
    show_default=True,
    help="Folder that bundles go to.",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where the clips are.")
@click.option("--model-path", help="Where the base model is.")
@click.option(
    "--signers",
    type=click.Path(path_type=Path),
    help="One of those in this file (ssh's ALLOWED SIGNERS) must have signed the bundle.",
)
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(
    archive: str,
    out: Path,
    data_root: Path | None,
    model_path: str | None,
    signers: Path | None,
    as_json: bool,
) -> None:
    """Verify the bundle in ARCHIVE and put it into the store.

    ARCHIVE is a file, or its address (s3://…). The last line of the output is the bundle's path.
    """
    unpacked = unpack_archive(
        archive, out, data_root=data_root, model_path=model_path, signers=signers
    )
    if as_json:
        click.echo(
            json.dumps(
                {
                    "bundle": str(unpacked.bundle),
                    "hash": unpacked.digest,
                    "created": unpacked.created,
                    "with": unpacked.parts,
                }
            )
        )
        return
    said = "unpacked" if unpacked.created else "exists already"
    click.echo(f"{said}: sha256 {unpacked.digest}", err=True)
    click.echo(unpacked.bundle)
