"""The base model of a bundle, as far as the bundle itself tells of it."""

import json
from pathlib import Path
from typing import Any

from attrs import fields_dict

from cvbundle.bundle.layout import MODEL
from cvbundle.model.identify import BaseModel
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.models import MODELS


def base_model(bundle: Path) -> BaseModel:
    """What `model.json` pins, without weights or a folder."""
    record = json.loads((bundle / MODEL).read_bytes())
    parts = {}
    for name, attribute in fields_dict(Architecture).items():
        values = record["architecture"][name]
        cls: Any = attribute.type
        parts[name] = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    return BaseModel(
        path=record["hub"]["repository"] if record["hub"] else "-",
        folder=None,
        name=record["name"],
        task=record["task"],
        card=MODELS.get(record["name"]),
        architecture=Architecture(**parts),
        is_on_hub=record["hub"] is not None,
    )
