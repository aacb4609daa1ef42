"""Lay out results: coloured in a terminal, plain in a pipe."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvbundle.problems import printable

_PLAIN_WIDTH = 160
"""Width in columns without a terminal."""


def console() -> Console:
    """The console for results."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(width=width, highlight=False, emoji=False, markup=False)


def heading(text: str) -> Text:
    """A heading."""
    return Text(text, style="bold")


def plain(value: object, style: str = "") -> Text:
    """A value as text, with control characters escaped."""
    text = "-" if value is None else value if isinstance(value, str) else _shown(value)
    return Text(printable(text), style=style, overflow="fold")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value)


def table(*columns: str) -> Table:
    """A table without borders; `>` before a column's name aligns it right."""
    made = Table(box=None, pad_edge=False, header_style="dim", show_header=any(columns))
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        made.add_column(column.removeprefix(">"), justify=justify, overflow="fold")  # type: ignore[arg-type]
    return made
