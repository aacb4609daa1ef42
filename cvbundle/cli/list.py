"""`cvbundle list`."""

import json
from pathlib import Path
from typing import get_args

import attrs
import click

from cvbundle.bundle.store import STORE
from cvbundle.cli._echo import echo
from cvbundle.cli._terminal import console, plain, table
from cvbundle.cli._where import PathType
from cvbundle.comparison.listing import Column, Listed, list_store
from cvbundle.model.memory import in_gib

_STATUS = {"complete": "green", "failed": "red", "damaged": "red", "running": "yellow"}

SECTION = "Bundles"


@click.command("list")
@click.argument("store", type=PathType(), default=STORE)
@click.option("--where", multiple=True, metavar="K=V", help="Only bundles with this setting.")
@click.option(
    "--sort",
    type=click.Choice(get_args(Column)),
    default="name",
    show_default=True,
    help="The column to sort by.",
)
@click.option("--reverse", is_flag=True, help="Largest first.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    store: Path, where: tuple[str, ...], sort: Column, reverse: bool, as_json: bool
) -> None:
    """Show the bundles of STORE with the state of the newest run of each."""
    listed = list_store(store, where, sort=sort, reverse=reverse)
    if as_json:
        echo(json.dumps([_as_data(each) for each in listed]))
        return
    if not listed:
        echo(f"no bundle in {store}{' has these settings' if where else ''}", err=True)
        return
    rows = table("hash", "name", "model", "type", ">samples", "status", ">loss", ">size")
    for each in listed:
        rows.add_row(
            plain(each.hash),
            plain(each.name),
            plain(each.model),
            plain(each.type),
            plain(None if each.samples is None else f"{each.samples:,}"),
            plain(each.status, _STATUS.get(each.status, "")),
            plain(None if each.loss is None else f"{each.loss:.6g}"),
            plain(in_gib(each.size)),
        )
    console().print(rows)


def _as_data(listed: Listed) -> dict[str, object]:
    values = attrs.asdict(listed, filter=lambda field, _: field.name != "bundle")
    return {"bundle": str(listed.bundle.folder), "hash": listed.hash, **values}
