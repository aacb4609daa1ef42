"""`cvbundle verify`."""

import json

import click

from cvbundle.bundle.store import find_bundle
from cvbundle.bundle.verify import differences


@click.command("verify")
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(bundle: str, as_json: bool) -> int:
    """Say whether BUNDLE (a folder, or the beginning of its hash) is what was compiled."""
    path = find_bundle(bundle)
    wrong = list(differences(path))
    if as_json:
        click.echo(json.dumps({"bundle": str(path), "verified": not wrong, "differences": wrong}))
    elif wrong:
        for difference in wrong:
            click.echo(difference)
    else:
        click.echo(f"{path}: every file is what was compiled")
    return 1 if wrong else 0
