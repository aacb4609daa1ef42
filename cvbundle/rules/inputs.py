"""What goes into the model must be what it takes."""

from collections.abc import Iterator

from cvbundle.model.catalog import task_of
from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule


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


@rule(
    "image-column-with-t2v",
    Severity.ERROR,
    why="Text to video takes no image: the settings would be ignored.",
    source="promise 5 of the design: nothing is silently something else",
    reads=("model.type", "data.image_column", "training.image_dropout", "validation.images"),
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
        "training.image_dropout": spec.training.image_dropout > 0,
        "validation.images": spec.validation is not None and bool(spec.validation.images),
    }
    for at, given in told.items():
        if given:
            yield Finding(at, f"{at} means nothing with model.type: t2v", "remove it", at_key=True)
