"""Write a small demo experiment: a tiny model, a few clips and a spec."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from cvbundle.dataset.video import write_clip
from cvbundle.files.durable import temporary_folder, write_bytes
from cvbundle.files.templates import render
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import MODELS

_SPEC = "spec.yaml"
_MODEL = "model"
_DATA = "data"
_FRAMES, _HEIGHT, _WIDTH, _FPS = 17, 96, 128, 8


@frozen
class Motion:
    """A coloured square that moves over a plain background."""

    caption: str
    colour: tuple[int, int, int]
    ground: tuple[int, int, int]
    step: tuple[int, int]
    """Pixels down and to the right, per frame."""


_CLIPS = {
    "red_right": Motion("A red square moves to the right.", (220, 40, 40), (20, 20, 30), (0, 5)),
    "blue_down": Motion("A blue square moves down.", (40, 60, 220), (200, 200, 190), (4, 0)),
    "green_left": Motion("A green square moves to the left.", (40, 190, 70), (60, 40, 70), (0, -5)),
    "white_up": Motion("A white square moves up.", (240, 240, 240), (90, 60, 40), (-4, 0)),
}


@frozen
class Demo:
    """A demo on disk."""

    spec: Path
    created: bool
    """False if it already existed."""


def write_demo(folder: Path, model: str, kind: TrainingType) -> Demo:
    """Write the demo of a model into a folder; an existing one is left unchanged.

    Raises:
        UserError: the folder contains something else, or there is no such model.
    """
    if model not in MODELS:
        raise UserError(f"{model} is not a model; there are {', '.join(MODELS)}")
    card = MODELS[model]
    spec = render("demo.yaml", card=card, kind=kind).encode()
    path = folder / _SPEC
    if path.is_file():
        if path.read_bytes() == spec:
            return Demo(path, created=False)
        raise UserError(f"{path} already exists and is not this demo's: use another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write_clips(folder / _DATA)
    if not (folder / _MODEL).is_dir():
        _write_model(folder / _MODEL, model)
    if card.task == "i2v":
        _write_image(folder / "first.png")
    # The spec is written last: if it exists, so does the rest.
    write_bytes(path, spec)
    return Demo(path, created=True)


def _write_clips(folder: Path) -> None:
    if folder.is_dir():
        return
    with temporary_folder(folder.parent, folder.name) as temporary:
        (temporary / "videos").mkdir()
        names = []
        for name, motion in _CLIPS.items():
            names.append(f"videos/{name}.mp4")
            write_clip(temporary / names[-1], _pictures(motion), _FPS)
        (temporary / "videos.txt").write_text("".join(f"{name}\n" for name in names))
        captions = (f"{motion.caption}\n" for motion in _CLIPS.values())
        (temporary / "prompts.txt").write_text("".join(captions))
        temporary.chmod(0o755)
        temporary.rename(folder)


def _pictures(motion: Motion) -> Iterator[NDArray[np.uint8]]:
    side = 24
    for index in range(_FRAMES):
        picture = np.empty((_HEIGHT, _WIDTH, 3), np.uint8)
        picture[:] = motion.ground
        top = (_HEIGHT - side) // 2 + motion.step[0] * (index - _FRAMES // 2)
        left = (_WIDTH - side) // 2 + motion.step[1] * (index - _FRAMES // 2)
        top, left = max(0, top), max(0, left)
        picture[top : top + side, left : left + side] = motion.colour
        yield picture


def _write_image(path: Path) -> None:
    from PIL import Image

    picture = next(_pictures(_CLIPS["red_right"]))
    Image.fromarray(picture).save(path)


def _write_model(folder: Path, name: str) -> None:
    """Write the model in a child process: only the trainer imports torch."""
    result = subprocess.run(
        module_command("cvbundle.training.tiny", str(folder), name),
        env=safe_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"the demo's model could not be written ({last})")
