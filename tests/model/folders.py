"""Model folders without weights."""

import json
from pathlib import Path

from cvbundle.model.config_files import architecture_data
from cvbundle.spec.tables.architecture import Architecture


def write_configs(folder: Path, architecture: Architecture) -> None:
    """The config files of a folder in diffusers layout."""
    for name, data in architecture_data(architecture).items():
        (folder / name).mkdir(parents=True)
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        (folder / name / file).write_text(json.dumps(data))
