"""The templates: where they are, and how they are filled in."""

import importlib.resources
from pathlib import Path


def templates_folder() -> Path:
    """The folder of starter specs and of a bundle's files.

    It is beside the package in a checkout, and inside it once installed.
    """
    package = Path(str(importlib.resources.files("cvbundle")))
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def render(name: str, /, **values: object) -> str:
    """A template with its values; a value that it lacks is an error."""
    # Much is done without a template engine.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder(), encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # YAML, from our own values
    )
    return environment.get_template(name).render(**values)
