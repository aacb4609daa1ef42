"""A bundle's settings, as the spec that its `config.json` is."""

import json
from pathlib import Path

from cvbundle.bundle.layout import CONFIG
from cvbundle.bundle.places import with_local_settings
from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import Spec


def read_spec(bundle: Path) -> Spec:
    """A bundle's settings; the paths of model and clips are `-` where nothing here says them."""
    config = with_local_settings(json.loads((bundle / CONFIG).read_bytes()), bundle)
    config["model"].setdefault("path", "-")
    config["data"].setdefault("root", "-")
    return structure_config(config)
