"""What to install where a package can't be imported."""

_DISTRIBUTIONS = {"backports": "backports.zstd", "PIL": "pillow", "yaml": "pyyaml", "attr": "attrs"}
"""Where a package's name isn't that of what is installed."""


def installation(error: ImportError) -> str | None:
    """A sentence with the words to type; None if it is not another package that is missing."""
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package in ("", "cvbundle"):
        return None
    name = _DISTRIBUTIONS.get(package, package)
    return f"{name} is not installed: pip install {name}"
