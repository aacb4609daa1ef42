"""Where the templates are: beside the package in a checkout, inside it once installed."""

import importlib.resources
from pathlib import Path


def templates_folder() -> Path:
    """The folder of starter specs and of the files that a bundle is made of."""
    package = Path(str(importlib.resources.files("cvbundle")))
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"
