"""The commit that a spec is of, for its provenance.

The folder may be a stranger's, and a repository's own settings name programs: `core.fsmonitor` and
the filters of git-config(1) run as soon as git compares files. They are not run for this.
"""

import subprocess
from pathlib import Path

_TIMEOUT_SECONDS = 10


def spec_commit(folder: Path) -> str | None:
    """The commit of the repository that a folder is in; None where there is none.

    `-dirty` follows it where files differ from it, and `-unchecked` where only a program of the
    repository could tell.
    """
    code, commit = _git(folder, "describe", "--always", "--abbrev=40")
    if code or not commit:
        return None
    _, filters = _git(folder, "config", "--show-scope", "--get-regexp", r"^filter\.")
    if any(line.startswith(("local\t", "worktree\t")) for line in filters.splitlines()):
        return f"{commit}-unchecked"
    # A submodule has settings of its own.
    quiet = ("--quiet", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all")
    code, _ = _git(folder, "diff", *quiet, "HEAD", "--")
    if code == 0:
        return commit
    return f"{commit}-dirty" if code == 1 else f"{commit}-unchecked"


def _git(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Exit code and output; None where git isn't installed or takes too long."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    return result.returncode, result.stdout.strip()
