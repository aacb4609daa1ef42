"""What goes into the model must be what it takes."""

from collections.abc import Iterator

from cvbundle.model.architecture import has_traits_of
from cvbundle.model.catalog import card, card_like, task_of
from cvbundle.problems import Rule, Severity, declare
from cvbundle.rules.rule import Finding, Subject, also, rule
from cvbundle.spec.schema import ImageNoise


@rule(
    "model-name",
    Severity.ERROR,
    why="The name decides what the model was trained for; one of another model misleads every "
    "check.",
    source="the model's own config files",
    reads=("model.name",),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b", "model.name": "cogvideox-5b"},
    bad={"model.path": "THUDM/CogVideoX-5b", "model.name": "cogvideox-2b"},
)
def model_name(subject: Subject) -> Iterator[Finding]:
    """`model.name` is built like the model that is there."""
    named = card(subject.spec.model.name)
    architecture = subject.model.architecture
    if named is None or has_traits_of(named.architecture.transformer, architecture.transformer):
        return
    alike = card_like(architecture)
    right = alike.name if alike else "custom"
    yield Finding.write(
        "model.name",
        f"the model is not built like {named.name}: its config files are those of {right}",
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
    """`model.type` is what the model's input channels say."""
    task = task_of(subject.model.architecture.transformer)
    if subject.spec.model.type != task:
        channels = subject.model.architecture.transformer.in_channels
        yield Finding.write(
            "model.type",
            f"{subject.spec.model.type} with a model of {channels} input channels, which is for "
            f"{task}",
            task,
        )


REVISION_OF_FOLDER = declare(
    Rule(
        id="revision-of-folder",
        severity=Severity.ERROR,
        why="A revision names a state of a hub's repository; of a folder it would be ignored.",
        source="huggingface_hub snapshot_download: a revision is a repository's branch, tag or "
        "commit",
    )
)


@also(REVISION_OF_FOLDER, reads=("model.path", "model.revision"), needs_model=True)
def revision_of_folder(subject: Subject) -> Iterator[Finding]:
    """A folder has no revision: its files are pinned by their digests."""
    if not subject.model.is_on_hub and subject.spec.model.revision is not None:
        message = "model.revision means nothing for a folder: its files are pinned by their digests"
        yield Finding("model.revision", message, "remove it", at_key=True)


@rule(
    "image-column-with-t2v",
    Severity.ERROR,
    why="Text to video takes no image: the settings would be ignored.",
    source="diffusers pipeline_cogvideox.py: the text pipeline takes no image",
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
    told = {
        "data.image_column": spec.data.image_column is not None,
        # No noise on an image that isn't there is what happens.
        "training.image_noise": spec.training.image_noise not in (None, ImageNoise()),
        "training.image_dropout": spec.training.image_dropout > 0,
        "validation.images": spec.validation is not None and bool(spec.validation.images),
    }
    for at, given in told.items():
        if given:
            yield Finding(at, f"{at} means nothing with model.type: t2v", "remove it")
