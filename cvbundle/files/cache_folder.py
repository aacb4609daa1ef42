"""The folder of cvbundle's cache, shared by all bundles of a user."""

import os
from pathlib import Path

from cvbundle.files.expand import expanded


def cache_folder() -> Path:
    """`$CVBUNDLE_CACHE`, or `cvbundle` in the user's cache folder (XDG Base Directory)."""
    if named := os.environ.get("CVBUNDLE_CACHE"):
        return expanded(named)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base) / "cvbundle"
