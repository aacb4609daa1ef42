"""Options that several commands have: where something is, or goes, on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cvbundle.bundle.store import STORE

F = TypeVar("F", bound=Callable[..., Any])


class PathType(click.ParamType[Path]):
    """A path; an empty one, such as an unset variable leaves, is a mistake and not this folder."""

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
            self.fail("it is empty: name something, or leave it out", param, ctx)
        return str(value)


def with_store(command: F) -> F:
    """`--out`: the store that a command puts bundles into."""
    option = click.option(
        "--out",
        type=PathType(),
        default=STORE,
        show_default=True,
        help="Folder that bundles go to.",
    )
    return option(command)


def with_places(command: F) -> F:
    """`--data-root` and `--model-path`: where what a bundle only names is."""
    clips = click.option("--data-root", type=PathType(), help="Where the clips are.")
    model = click.option(
        "--model-path", type=Text(), help="Where the base model is, or its hub id."
    )
    return clips(model(command))


def with_signers(command: F) -> F:
    """`--signers`: who may have signed a bundle."""
    option = click.option(
        "--signers",
        type=PathType(),
        help="One of those in this file (ssh's ALLOWED SIGNERS) must have signed the bundle.",
    )
    return option(command)
