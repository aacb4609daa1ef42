"""Print a line: the one place through which all texts go that may be a stranger's."""

import click

from cvbundle.problems import printable


def echo(message: object, *, err: bool = False, nl: bool = True) -> None:
    """Print to stdout, or to stderr; what a terminal would obey is escaped."""
    click.echo(printable(str(message), keep="\n\t"), err=err, nl=nl)
