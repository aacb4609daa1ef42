"""`cvbundle unpack`."""

import json
from pathlib import Path

import click

from cvbundle.archive.unpack import unpack_archive
from cvbundle.cli._echo import echo
from cvbundle.cli._where import Text, with_places, with_signers, with_store

SECTION = "Bundles"


@click.command("unpack")
@click.argument("archive", type=Text())
@with_store
@with_places
@with_signers
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    archive: str,
    out: Path,
    data_root: Path | None,
    model_path: str | None,
    signers: Path | None,
    as_json: bool,
) -> None:
    """Verify the bundle in ARCHIVE and unpack it into the store.

    ARCHIVE is a file, or its URL (s3://…). The last line of the output is the bundle's path.
    """
    unpacked = unpack_archive(
        archive, out, data_root=data_root, model_path=model_path, signers=signers
    )
    if as_json:
        echo(
            json.dumps(
                {
                    "bundle": str(unpacked.bundle.folder),
                    "hash": unpacked.bundle.digest,
                    "created": unpacked.created,
                    "with": unpacked.parts,
                }
            )
        )
        return
    outcome = "unpacked" if unpacked.created else "already exists"
    echo(f"{outcome}: sha256 {unpacked.bundle.digest}", err=True)
    echo(unpacked.bundle.folder)
