"""Where a bundle's model, clips and runs are on this machine."""

import json
import os
from pathlib import Path

from cvbundle.bundle.layout import MODEL, PATHS
from cvbundle.bundle.runs import runs_folder


def bundle_runs(bundle: Path) -> Path:
    """The folder of a bundle's runs on this machine."""
    return runs_folder(bundle, local_paths(bundle)["output.dir"])


def local_paths(bundle: Path) -> dict[str, str | None]:
    """Where things are on this machine; the environment goes before `local/paths.json`.

    A model of the hub is where the hub keeps it, unless someone says otherwise.
    """
    try:
        told = json.loads((bundle / PATHS).read_bytes())
    except FileNotFoundError:
        told = {}
    named = {
        "model.path": "CVBUNDLE_MODEL_PATH",
        "data.root": "CVBUNDLE_DATA_ROOT",
        "output.dir": "CVBUNDLE_OUTPUT_DIR",
    }
    found = {field: os.environ.get(name) or told.get(field) for field, name in named.items()}
    return found | {"model.path": found["model.path"] or _repository(bundle)}


def _repository(bundle: Path) -> str | None:
    """The hub's repository that a bundle pins its model in."""
    try:
        hub = json.loads((bundle / MODEL).read_bytes())["hub"]
    except FileNotFoundError:
        return None
    return None if hub is None else str(hub["repository"])
