"""Training in the test's own process, which imports torch once."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from cvbundle.bundle.build import compile_file
from cvbundle.bundle.runs import Choice
from cvbundle.training.train import train

Train = Callable[..., Path]
CompileDemo = Callable[..., Path]


class StopAfter(threading.Event):
    """Is set when it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        """Whether the time has come."""
        self._looks -= 1
        return self._looks < 0


@pytest.fixture
def train_here() -> Train:
    """Train a bundle to its end, or until `stop` is set; the run's folder."""

    def run(bundle: Path, choice: Choice = "auto", stop: threading.Event | None = None) -> Path:
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        return train(bundle, choice, "cpu", 1, stop or threading.Event())

    return run


@pytest.fixture
def compile_demo(demo: Path, tmp_path: Path) -> CompileDemo:
    """Compile the demo with some settings changed."""

    def compile_with(*settings: str) -> Path:
        quick = ["tracking.report_to=[]", *settings]
        return compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=quick).only.bundle

    return compile_with


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def adapter(run: Path) -> Path:
    """The file that `load_lora_weights` loads."""
    return run / "adapter/pytorch_lora_weights.safetensors"
