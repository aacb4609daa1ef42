"""`cvbundle verify`."""

import json
from pathlib import Path

import click

from cvbundle.bundle.difference import FileDifference
from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._where import Text, with_signers
from cvbundle.execution.verification import Verification, verify_bundle

SECTION = "Bundles"


@click.command("verify")
@click.argument("bundle", type=Text())
@click.option("--no-clips", is_flag=True, help="Don't check the clips.")
@click.option("--no-weights", is_flag=True, help="Don't check the base model.")
@with_signers
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: str, no_clips: bool, no_weights: bool, signers: Path | None, as_json: bool
) -> int:
    """Verify that BUNDLE (a folder, or a prefix of its hash) is what was compiled.

    Its own files are checked first, then the clips and the base model that it references.
    """
    result = verify_bundle(
        find_bundle(bundle), clips=not no_clips, weights=not no_weights, signers=signers
    )
    if as_json:
        echo(json.dumps(_as_data(result)))
    else:
        _show(result)
    return 0 if result.verified else 1


def _show(result: Verification) -> None:
    for difference in result.files:
        echo(str(difference))
    for kind, differences in (
        ("clip", result.clips),
        ("weights", result.weights),
        ("signature", result.signature),
    ):
        for each in differences or ():
            echo(f"{kind}: {each}")
    for reason in result.unknown:
        echo(reason, err=True)
    if result.signer is not None:
        echo(f"signed by {result.signer}")
    if result.verified:
        checked = ["every file"]
        checked += ["every clip"] if result.clips is not None else []
        checked += ["the base model"] if result.weights is not None else []
        last = checked.pop()
        listed = f"{', '.join(checked)} and {last}" if checked else last
        echo(f"{result.bundle.folder}: {listed} {'are' if checked else 'is'} what was compiled")


def _as_data(result: Verification) -> dict[str, object]:
    return {
        "bundle": str(result.bundle.folder),
        "verified": result.verified,
        "differences": _words(result.files),
        "clips": _words(result.clips),
        "weights": _words(result.weights),
        "signature": result.signature,
        "signer": result.signer,
        "unknown": result.unknown,
    }


def _words(differences: tuple[FileDifference, ...] | None) -> list[str] | None:
    return None if differences is None else [str(difference) for difference in differences]
