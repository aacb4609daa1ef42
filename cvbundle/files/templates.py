"""Find and render templates."""

import importlib.resources
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

_WIDTH = 100
"""Columns of a comment's lines."""


def templates_folder() -> Path:
    """The folder of starter specs and of a bundle's files.

    It is beside the package in a checkout, and inside it once installed.
    """
    package = Path(str(importlib.resources.files("cvbundle")))
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def render(name: str, /, **values: object) -> str:
    """Render a template; a missing value is an error."""
    return _environment().get_template(name).render(**values)


@cache
def _environment() -> "jinja2.Environment":
    """Created once: it caches compiled templates, which a sweep renders for each point."""
    # Most commands need no template engine.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # YAML, from our own values
    )
    environment.filters["comment"] = _comment
    return environment


def _comment(text: str) -> str:
    """A text as comment lines of a section."""
    return fill(text, _WIDTH, initial_indent="  # ", subsequent_indent="  # ")
