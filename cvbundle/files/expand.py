"""Expand `~` in paths."""

from pathlib import Path

from cvbundle.problems import UserError


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~user` replaced.

    Raises:
        UserError: there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"{path}: there is no such home folder: write the path out") from None
