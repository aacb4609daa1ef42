"""Where a bundle's model, clips and runs are on this machine."""

import json
import os
from pathlib import Path

from cvbundle.bundle.layout import PATHS


def local_paths(bundle: Path) -> dict[str, str | None]:
    """Where things are on this machine; the environment goes before `local/paths.json`."""
    try:
        told = json.loads((bundle / PATHS).read_bytes())
    except FileNotFoundError:
        told = {}
    named = {
        "model.path": "CVBUNDLE_MODEL_PATH",
        "data.root": "CVBUNDLE_DATA_ROOT",
        "output.dir": "CVBUNDLE_OUTPUT_DIR",
    }
    return {field: os.environ.get(name) or told.get(field) for field, name in named.items()}
