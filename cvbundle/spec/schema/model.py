"""`model`: the base model."""

from attrs import field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import NOT_EMPTY, Choice, Pattern
from cvbundle.spec.tables.architecture import Task
from cvbundle.spec.tables.models import CUSTOM, MODELS

# A commit, branch or tag: it becomes part of a path in the hub's cache, and must stay inside it.
_REVISION = Pattern(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/+-]{0,254}")


def is_revision(text: str) -> bool:
    """Whether a text can be a commit, branch or tag."""
    return _REVISION.holds(text)


@frozen(kw_only=True)
class Model:
    """The base model."""

    path: str = field(
        validator=NOT_EMPTY,
        metadata=about(
            "Hub id `org/name`, or a folder in diffusers layout.",
            "THUDM/CogVideoX-2b",
            local="CVBUNDLE_MODEL_PATH",
            elsewhere=(
                "base_model",
                "model_id",
                "model_name_or_path",
                "pretrained_model",
                "pretrained_model_name_or_path",
            ),
        ),
    )
    revision: str | None = field(
        default=None,
        validator=_REVISION,
        metadata=about(
            "Hub only: the commit. A branch or tag is resolved to its commit at compile time.", None
        ),
    )
    name: str = field(
        validator=Choice((*MODELS, CUSTOM)),
        metadata=about(
            "Which CogVideoX model; `custom` means whatever the folder's config files describe.",
            "cogvideox-2b",
            default="inferred from the model's config files or hub id",
        ),
    )
    type: Task = field(
        metadata=about(
            "Text to video or image to video; must match the model.", "t2v", default="by model"
        ),
    )
