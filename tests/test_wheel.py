"""The wheel, in an environment where the trainer's packages can't be imported."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from cvbundle.compiler.build import Compiled

ROOT = Path(__file__).parent.parent
TRAINERS = ("accelerate", "diffusers", "peft", "torch", "transformers")
CORE = (
    "attrs",
    "cattrs",
    "click",
    "jinja2",
    "markupsafe",
    "packaging",
    "pyyaml",
    "rich",
    "typing-extensions",
    *(("backports.zstd",) if sys.version_info < (3, 14) else ()),
)
"""What reading specs and bundles needs."""
CLIPS = ("av", "numpy", "pillow", "sentencepiece", "tqdm")
"""What opens clips, counts a caption's tokens, and shows progress."""
LOCKED = ("huggingface-hub", "safetensors", "tensorboard", "tokenizers", "psutil")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
    ),
]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("cvbundle", "templates"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def _environment(folder: Path, wheel: Path, *distributions: str) -> Run:
    """An environment with the wheel and some distributions of this one.

    Of the others only the metadata is there, as of packages that are installed but broken.
    """
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    (packages,) = folder.glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--quiet"]
    subprocess.run([*install, "--python", str(python), str(wheel)], check=True)
    for name in distributions:
        for entry in _top_level(name):
            _link(packages / entry.name, entry)
    for name in (*TRAINERS, *LOCKED, *CLIPS):
        (metadata,) = (entry for entry in _top_level(name) if entry.suffix == ".dist-info")
        _link(packages / metadata.name, metadata)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(folder / "bin/cvbundle"), *arguments],
            cwd=folder,
            env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def _top_level(name: str) -> set[Path]:
    """The files and folders of a distribution in the folder where it is installed."""
    distribution = importlib.metadata.distribution(name)
    base = Path(str(distribution.locate_file("")))
    parts = {file.parts[0] for file in distribution.files or () if file.parts[0] != ".."}
    return {base / part for part in parts - {"__pycache__"}}


def _link(link: Path, target: Path) -> None:
    if not link.exists():
        link.symlink_to(target)


def _fails(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_it_has_types_and_templates(wheel: Path) -> None:
    names = subprocess.check_output([sys.executable, "-m", "zipfile", "-l", str(wheel)], text=True)
    for name in ("cvbundle/py.typed", "cvbundle/templates/launch.sh", "cvbundle/cli/check.py"):
        assert name in names
    assert "tests/" not in names


def test_a_spec_becomes_a_bundle_where_torch_cannot_be_imported(
    wheel: Path, own_demo: Path, tmp_path: Path
) -> None:
    run = _environment(tmp_path / "venv", wheel, *CORE, *CLIPS)
    store, spec = str(tmp_path / "bundles"), str(own_demo / "spec.yaml")
    assert run("check", "--data", spec).returncode == 0
    compiled = run("compile", spec, "--out", store)
    assert compiled.returncode == 0, compiled.stderr
    bundle = compiled.stdout.splitlines()[-1]
    assert run("show", bundle).returncode == 0
    _fails(run("sample", bundle, "--prompt", "A cat."), "no run")


def test_a_bundle_is_read_where_av_cannot_be_imported_either(
    wheel: Path, own_demo: Path, tmp_path: Path, compiled: Compiled
) -> None:
    run = _environment(tmp_path / "venv", wheel, *CORE)
    spec, bundle = str(own_demo / "spec.yaml"), str(compiled.bundle)
    archive, store = str(tmp_path / "bundle.tar"), str(tmp_path / "store")
    for command in (
        ("check", spec),
        ("show", bundle),
        ("list", str(Path(bundle).parent)),
        ("diff", bundle, bundle),
        ("verify", bundle),
        ("archive", bundle, "-o", archive),
        ("unpack", archive, "--out", store),
    ):
        done = run(*command)
        assert done.returncode == 0, (command, done.stderr)
    _fails(run("check", "--data", spec), "av is not installed: pip install av")
    _fails(run("compile", spec, "--out", store), "av is not installed: pip install av")
    _fails(run("demo", "other"), "is not installed: pip install")
