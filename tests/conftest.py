"""What tests share: the demo, made once, and places that are each test's own."""

import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.files import identity

# Steps of a tiny model take as long with two threads as with one, and jump when cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when huggingface_hub is imported: no test may ask a network.
os.environ["HF_HUB_OFFLINE"] = "1"

_NVIDIA = Path("/dev/nvidia0")
"""Is there where the driver of an NVIDIA GPU runs."""

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Of the model in a hub cache."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a GPU are skipped where there is none."""
    if _NVIDIA.exists():
        return
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU here; `just gpu` runs these"))


@pytest.fixture(autouse=True)
def _files_are_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of a file that a test has just written is stored at once."""
    monkeypatch.setattr(identity, "SETTLED_NS", 0)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes share, and that no two are in the fixture of at once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def demo(shared: Path) -> Path:
    """The folder of `cvbundle demo`; nothing may be written into it."""
    folder = shared / "demo"
    with (shared / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_demo(folder, "cogvideox-2b", "lora")
    return folder


@pytest.fixture(scope="session")
def encodings(shared: Path) -> Path:
    """A cache that all tests of one session fill together."""
    return shared / "cache"


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, encodings: Path, tmp_path: Path) -> None:
    """Nothing of the person who runs the tests is read or written."""
    for name in list(os.environ):
        if name.startswith(("CVBUNDLE_", "HF_")) and name != "HF_HUB_OFFLINE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CVBUNDLE_CACHE", str(encodings))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))


@pytest.fixture
def own_demo(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo that a test may change; the model's files are links."""
    folder = tmp_path / "demo"
    shutil.copytree(demo / "data", folder / "data")
    shutil.copytree(demo / "model", folder / "model", copy_function=os.link)
    shutil.copy(demo / "spec.yaml", folder)
    return folder


@pytest.fixture
def compiled(demo: Path, tmp_path: Path) -> Compiled:
    """The demo's bundle, in a store of the test's own."""
    return compile_file(demo / "spec.yaml", tmp_path / "bundles").only


@pytest.fixture
def hub_demo(own_demo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's spec with a hub id, and the model in a cache laid out as huggingface_hub does."""
    cache = own_demo.parent / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    repository = cache / "models--THUDM--CogVideoX-2b"
    for file in (own_demo / "model").rglob("*"):
        if not file.is_file():
            continue
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        blob = repository / "blobs" / digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = repository / "snapshots" / COMMIT / file.relative_to(own_demo / "model")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    shutil.rmtree(own_demo / "model")
    spec = own_demo / "spec.yaml"
    text = spec.read_text().replace("path: model ", "path: THUDM/CogVideoX-2b ")
    spec.write_text(text)
    return own_demo
