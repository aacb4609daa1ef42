"""Rules about the images of validation samples."""

from collections.abc import Iterator
from pathlib import Path

from cvbundle.dataset.paths import not_a_file
from cvbundle.files.expand import expanded
from cvbundle.problems import Severity, UserError
from cvbundle.rules.rule import Finding, Stage, Subject, also, rule
from cvbundle.spec.rules import VALUE_RANGE


@rule(
    "validation-images",
    Severity.ERROR,
    why="Image to video starts each sample from an image.",
    source="diffusers pipeline_cogvideox_image2video.py: image is required",
    reads=("model.type", "validation.prompts[]", "validation.images[]"),
    good={
        "model.path": "THUDM/CogVideoX-5b-I2V",
        "validation.steps": 200,
        "validation.prompts": ["A cat walks.", "A dog runs."],
        "validation.images": ["cat.png", "dog.png"],
    },
    bad={
        "model.path": "THUDM/CogVideoX-5b-I2V",
        "validation.steps": 200,
        "validation.prompts": ["A cat walks.", "A dog runs."],
        "validation.images": ["cat.png"],
    },
)
def validation_images(subject: Subject) -> Iterator[Finding]:
    """Image to video has one validation image per prompt."""
    validation = subject.spec.validation
    if validation is None or subject.spec.model.type != "i2v":
        return
    prompts, images = len(validation.prompts), len(validation.images)
    if prompts != images:
        yield Finding(
            "validation.images",
            f"{images} validation images for {prompts} prompts",
            f"list {prompts} images, one per prompt",
        )


@also(VALUE_RANGE, reads=("model.type", "validation.images[]"))
def missing_images(subject: Subject) -> Iterator[Finding]:
    """Validation images are files; they are decoded when clips are probed."""
    validation = subject.spec.validation
    if validation is None or subject.spec.model.type != "i2v":
        return
    for index, image in enumerate(validation.images):
        reason = _refusal(subject.base, image)
        if reason is not None:
            hint = "write the path of an image, relative to the spec's folder"
            yield Finding("validation.images", f"{image} {reason}", hint, index=index)


@also(VALUE_RANGE, reads=("validation.images[]",), stage=Stage.SCANNED)
def undecodable_images(subject: Subject) -> Iterator[Finding]:
    """Validation images can be decoded."""
    validation = subject.spec.validation
    if validation is None or not validation.images:
        return
    # Decoding needs a video library, which no other rule does.
    from cvbundle.dataset.bad_clip import BadClip
    from cvbundle.dataset.images import probe_image

    for index, image in enumerate(validation.images):
        if _refusal(subject.base, image) is not None:
            continue  # already reported
        try:
            probe_image(subject.base / expanded(image))
        except BadClip as error:
            message, hint = f"{image} {error.reason}", "write the path of an image"
            yield Finding("validation.images", message, hint, index=index)


def _refusal(base: Path, image: str) -> str | None:
    """Why an image is not a file; None if it is one."""
    try:
        return not_a_file(base / expanded(image))
    except UserError:
        return "is not a path"
