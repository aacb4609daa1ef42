"""The base model of a bundle, as the rules and estimates of a spec see it."""

from cvbundle.bundle.model_record import ModelRecord
from cvbundle.model.identify import BaseModel
from cvbundle.spec.tables.models import MODELS


def base_model(record: ModelRecord) -> BaseModel:
    """The model that `model.json` pins, without weights or a folder."""
    return BaseModel(
        path=record.hub.repository if record.hub else "-",
        folder=None,
        name=record.name,
        task=record.task,
        card=MODELS.get(record.name),
        architecture=record.architecture,
        is_on_hub=record.hub is not None,
    )
