"""Options for locations, shared by several commands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cvbundle.bundle.store import STORE

F = TypeVar("F", bound=Callable[..., Any])


class PathType(click.ParamType[Path]):
    """A path; an empty one, as from an unset variable, is an error, not the current folder."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of a text that isn't empty."""
        if isinstance(value, Path):
            return value
        return Path(Text().convert(value, param, ctx))


class Text(click.ParamType[str]):
    """A text that isn't empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        if not str(value).strip():
            self.fail("it is empty: give a value, or leave it out", param, ctx)
        return str(value)


def with_store(command: F) -> F:
    """`--out`: the store that bundles are written to."""
    option = click.option(
        "--out",
        type=PathType(),
        default=STORE,
        show_default=True,
        help="Folder for bundles.",
    )
    return option(command)


def with_places(command: F) -> F:
    """`--data-root` and `--model-path`: the locations of clips and base model."""
    clips = click.option("--data-root", type=PathType(), help="Folder of the clips.")
    model = click.option(
        "--model-path", type=Text(), help="Folder of the base model, or its hub id."
    )
    return clips(model(command))


def with_signers(command: F) -> F:
    """`--signers`: the allowed signers of a bundle."""
    option = click.option(
        "--signers",
        type=PathType(),
        help="Require a signature by one of the keys in this file (ssh's ALLOWED SIGNERS).",
    )
    return option(command)
