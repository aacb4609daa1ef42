"""Show code from elsewhere to whoever is about to run it."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cvbundle.execution.foreign_code import ForeignCode


@contextmanager
def shown_if_foreign() -> Iterator[None]:
    """Where a bundle is refused for its code, write what is other about it to stderr."""
    try:
        yield
    except ForeignCode as refused:
        for line in refused.excerpt:
            click.echo(line, err=True)
        raise
