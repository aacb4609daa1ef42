"""`cvbundle cache`."""

import json

import click

from cvbundle.cli._echo import echo
from cvbundle.execution.cache_contents import CacheContents, cache_contents, prune_cache
from cvbundle.files.cache_folder import cache_folder

SECTION = "Runs"


@click.command("cache")
@click.option("--prune", "pruned", is_flag=True, help="Remove everything that is unused.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(pruned: bool, as_json: bool) -> None:
    """Show the cache: encodings and environments, their size, and how much each bundle uses.

    Entries are unused if no bundle that still exists where it was trained uses them. They are made
    again when a run needs them.
    """
    folder = cache_folder()
    contents = prune_cache(folder) if pruned else cache_contents(folder)
    if as_json:
        echo(json.dumps(_as_data(contents, pruned)))
        return
    echo(f"{contents.folder}: {contents.entries} encodings, {_mib(contents.bytes)}")
    for use in contents.uses:
        gone = "" if use.present else " (gone)"
        echo(f"  {_mib(use.bytes):>12}  {use.entries:6} for {use.bundle}{gone}")
    word = "removed" if pruned else "unused, --prune removes them"
    echo(f"  {_mib(contents.unused_bytes):>12}  {len(contents.unused):6} {word}")
    for environment in contents.environments:
        word = "in use" if environment.used else "removed" if pruned else "unused"
        echo(f"  {_mib(environment.bytes):>12}  packages {word}: {environment.folder}")


def _as_data(contents: CacheContents, pruned: bool) -> dict[str, object]:
    return {
        "folder": str(contents.folder),
        "entries": contents.entries,
        "bytes": contents.bytes,
        "unused": len(contents.unused),
        "unused_bytes": contents.unused_bytes,
        "pruned": pruned,
        "bundles": [
            {
                "bundle": str(use.bundle),
                "present": use.present,
                "entries": use.entries,
                "bytes": use.bytes,
            }
            for use in contents.uses
        ],
        "environments": [
            {
                "folder": str(environment.folder),
                "bytes": environment.bytes,
                "used": environment.used,
            }
            for environment in contents.environments
        ],
    }


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
