"""`cvbundle verify`."""

import json
from pathlib import Path

import click

from cvbundle.bundle.store import find_bundle
from cvbundle.bundle.verification import Verification, verify_bundle
from cvbundle.cli.where import Text, with_signers


@click.command("verify")
@click.argument("bundle", type=Text())
@click.option("--no-clips", is_flag=True, help="Leave out the clips that BUNDLE names.")
@click.option("--no-weights", is_flag=True, help="Leave out the base model that BUNDLE names.")
@with_signers
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON.")
def command(
    bundle: str, no_clips: bool, no_weights: bool, signers: Path | None, as_json: bool
) -> int:
    """Say whether BUNDLE (a folder, or the beginning of its hash) is what was compiled.

    Its own files come first, then the clips and the base model that it names by their digests.
    """
    found = verify_bundle(
        find_bundle(bundle), clips=not no_clips, weights=not no_weights, signers=signers
    )
    if as_json:
        click.echo(json.dumps(_as_data(found)))
    else:
        _show(found)
    return 0 if found.verified else 1


def _show(found: Verification) -> None:
    for difference in found.files:
        click.echo(difference)
    for kind, differences in (
        ("clip", found.clips),
        ("weights", found.weights),
        ("signature", found.signature),
    ):
        for difference in differences or ():
            click.echo(f"{kind}: {difference}")
    for reason in found.unknown:
        click.echo(reason, err=True)
    if found.signer is not None:
        click.echo(f"signed by {found.signer}")
    if found.verified:
        looked = ["every file"]
        looked += ["every clip"] if found.clips is not None else []
        looked += ["the base model"] if found.weights is not None else []
        last = looked.pop()
        listed = f"{', '.join(looked)} and {last}" if looked else last
        click.echo(f"{found.bundle}: {listed} {'are' if looked else 'is'} what was compiled")


def _as_data(found: Verification) -> dict[str, object]:
    return {
        "bundle": str(found.bundle),
        "verified": found.verified,
        "differences": found.files,
        "clips": found.clips,
        "weights": found.weights,
        "signature": found.signature,
        "signer": found.signer,
        "unknown": found.unknown,
    }
