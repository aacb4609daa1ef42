"""Rules about the images of validation samples."""

import stat
from collections.abc import Iterator
from pathlib import Path

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, also, rule
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
        reason = _not_a_file(subject.base, image)
        if reason is not None:
            hint = "write the path of an image, relative to the spec's folder"
            yield Finding("validation.images", f"{image} {reason}", hint, index=index)


def _not_a_file(base: Path, name: str) -> str | None:
    """Why a path is not a file; None if it is one."""
    try:
        mode = (base / Path(name).expanduser()).stat().st_mode
    except FileNotFoundError:
        return "doesn't exist"
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except (ValueError, RuntimeError):  # a zero byte, or an unknown `~user`
        return "is not a path"
    return None if stat.S_ISREG(mode) else "is not a file"
