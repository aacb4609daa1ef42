"""Training in the test's own process, which imports torch once."""

import fcntl
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from cvbundle.authoring.demo import write_demo
from cvbundle.bundle.runs import Choice
from cvbundle.compiler.build import compile_file
from cvbundle.spec.schema import TrainingType
from cvbundle.training.tiny import write_tiny_model
from cvbundle.training.train import train
from tests.training.simgpu import installed

Train = Callable[..., Path]
CompileDemo = Callable[..., Path]
DemoOf = Callable[[str, TrainingType], Path]
CompileModel = Callable[..., Path]


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

    return _trains_on("cpu")


@pytest.fixture
def simgpu() -> Iterator[None]:
    """The simulated device, while the test runs."""
    with installed():
        yield


@pytest.fixture
def train_on_simgpu(simgpu: None) -> Train:
    """The same on the simulated device."""
    return _trains_on("simgpu")


def _trains_on(device: str) -> Train:
    def run(bundle: Path, choice: Choice = "auto", stop: threading.Event | None = None) -> Path:
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        return train(bundle, choice, device, 1, stop or threading.Event())

    return run


@pytest.fixture
def compile_demo(demo: Path, tmp_path: Path) -> CompileDemo:
    """Compile the demo with some settings changed."""

    def compile_with(*settings: str) -> Path:
        quick = ["tracking.report_to=[]", *settings]
        return compile_file(
            demo / "spec.yaml", tmp_path / "bundles", settings=quick
        ).only.bundle.folder

    return compile_with


@pytest.fixture(scope="session")
def demo_of(shared: Path) -> DemoOf:
    """The folder of `cvbundle demo --model … --type …`; nothing may be written into it."""

    def written(model: str, kind: TrainingType) -> Path:
        folder = shared / f"demo-{model}-{kind}"
        with (shared / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                # Here, where torch is imported already; the demo takes what is there.
                folder.mkdir()
                write_tiny_model(folder / "model", model)
            write_demo(folder, model, kind)
        return folder

    return written


@pytest.fixture
def compile_model(demo_of: DemoOf, tmp_path: Path) -> CompileModel:
    """Compile the demo of a model with some settings changed."""

    def compile_with(model: str, kind: TrainingType, *settings: str) -> Path:
        quick = ["tracking.report_to=[]", *settings]
        spec = demo_of(model, kind) / "spec.yaml"
        return compile_file(spec, tmp_path / "bundles", settings=quick).only.bundle.folder

    return compile_with


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def adapter(run: Path) -> Path:
    """The file that `load_lora_weights` loads."""
    return run / "adapter/pytorch_lora_weights.safetensors"


def result(run: Path) -> dict[str, str]:
    """The digest of everything that a run's result consists of, by its path in the run."""
    folder = next(path for path in (run / "adapter", run / "transformer") if path.is_dir())
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(run)): digest(path) for path in files}
