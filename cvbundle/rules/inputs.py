"""Rules that the inputs match the model."""

from collections.abc import Iterator

from cvbundle.model.catalog import card_like
from cvbundle.problems import Rule, Severity, declare
from cvbundle.rules.rule import Finding, Subject, also, rule
from cvbundle.spec.schema import ImageNoise
from cvbundle.spec.tables.models import MODELS


@rule(
    "model-name",
    Severity.ERROR,
    why="The name determines what the model was trained on; another model's name makes every check "
    "misleading.",
    source="the model's own config files",
    reads=("model.name",),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b", "model.name": "cogvideox-5b"},
    bad={"model.path": "THUDM/CogVideoX-5b", "model.name": "cogvideox-2b"},
)
def model_name(subject: Subject) -> Iterator[Finding]:
    """`model.name` has the architecture of the actual model."""
    named = MODELS.get(subject.spec.model.name)
    architecture = subject.model.architecture
    if named is None or named.architecture.transformer.has_traits_of(architecture.transformer):
        return
    alike = card_like(architecture)
    right = alike.name if alike else "custom"
    yield Finding.write(
        "model.name",
        f"the model's architecture is not that of {named.name}: its config files match {right}",
        right,
    )


@rule(
    "task-matches-model",
    Severity.ERROR,
    why="Image to video needs a model with doubled input channels, text to video one without.",
    source="diffusers pipeline_cogvideox_image2video.py: latents and image latents on channels",
    reads=("model.type",),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b-I2V", "model.type": "i2v"},
    bad={"model.path": "THUDM/CogVideoX-5b", "model.type": "i2v"},
)
def task_matches_model(subject: Subject) -> Iterator[Finding]:
    """`model.type` matches the model's input channels."""
    task = subject.model.architecture.transformer.task
    if subject.spec.model.type != task:
        channels = subject.model.architecture.transformer.in_channels
        yield Finding.write(
            "model.type",
            f"{subject.spec.model.type} with a model that has {channels} input channels and is for "
            f"{task}",
            task,
        )


REVISION_OF_FOLDER = declare(
    Rule(
        id="revision-of-folder",
        severity=Severity.ERROR,
        why="A revision is a commit of a hub repository; for a folder it would be ignored.",
        source="huggingface_hub snapshot_download: a revision is a repository's branch, tag or "
        "commit",
    )
)


@also(REVISION_OF_FOLDER, reads=("model.path", "model.revision"), needs_model=True)
def revision_of_folder(subject: Subject) -> Iterator[Finding]:
    """A folder has no revision: its files are pinned by their digests."""
    if not subject.model.is_on_hub and subject.spec.model.revision is not None:
        message = "model.revision has no effect for a folder: its files are pinned by their digests"
        yield Finding("model.revision", message, "remove it", at_key=True)


@rule(
    "image-column-with-t2v",
    Severity.ERROR,
    why="Text to video uses no image: the settings would be ignored.",
    source="diffusers pipeline_cogvideox.py: the text-to-video pipeline has no image argument",
    reads=(
        "model.type",
        "data.image_column",
        "training.image_noise",
        "training.image_dropout",
        "validation.images[]",
    ),
    good={"model.type": "t2v"},
    bad={"model.type": "t2v", "data.image_column": "images.txt"},
)
def image_column_with_t2v(subject: Subject) -> Iterator[Finding]:
    """No image settings with text to video."""
    spec = subject.spec
    if spec.model.type != "t2v":
        return
    settings = {
        "data.image_column": spec.data.image_column is not None,
        # `null` is accepted: there is no image to add noise to.
        "training.image_noise": spec.training.image_noise not in (None, ImageNoise()),
        "training.image_dropout": spec.training.image_dropout > 0,
        "validation.images": spec.validation is not None and bool(spec.validation.images),
    }
    for at, is_set in settings.items():
        if is_set:
            yield Finding(at, f"{at} has no effect with model.type: t2v", "remove it")
