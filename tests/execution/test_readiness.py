"""Missing or changed inputs are named before the trainer starts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.bundle.bundle import Bundle
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.execution.launch import plan_launch
from cvbundle.execution.readiness import _require_writable, require_places
from cvbundle.files import known_digests
from cvbundle.files.known_files import KnownFiles
from cvbundle.problems import UserError
from tests.conftest import COMMIT

NOBODY = 65534
REPOSITORY = "models--THUDM--CogVideoX-2b"


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("CVBUNDLE_MODEL_PATH", "nowhere is not a folder: set CVBUNDLE_MODEL_PATH"),
        ("CVBUNDLE_DATA_ROOT", "nowhere is not a folder: set CVBUNDLE_DATA_ROOT"),
    ],
)
def test_a_missing_folder_is_named(
    variable: str, sentence: str, compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "nowhere")
    with pytest.raises(UserError, match=sentence):
        plan_launch(compiled.bundle)


def test_an_unknown_folder_is_asked_for(
    compiled: Compiled, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(compiled.bundle.folder / "local")
    with pytest.raises(UserError, match="folder of the base model is unknown: set"):
        plan_launch(compiled.bundle)
    monkeypatch.setenv("CVBUNDLE_MODEL_PATH", str(demo / "model"))
    with pytest.raises(UserError, match="folder of the clips is unknown: set"):
        plan_launch(compiled.bundle)
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", str(demo / "data"))
    plan_launch(compiled.bundle)


def test_a_complete_run_needs_neither_clips_nor_weights(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_DATA_ROOT", "nowhere")
    run = compiled.bundle.folder / "runs/0001"
    run.mkdir()
    (run / "run.json").write_text('{"status": "complete"}')
    finished = plan_launch(compiled.bundle).finished
    assert finished is not None
    assert finished.folder == run
    with pytest.raises(UserError, match="nowhere is not a folder"):
        plan_launch(compiled.bundle, choice="fresh")


def test_a_dry_run_verifies_every_clip_and_weight_file(
    own_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_file(own_demo / "spec.yaml", tmp_path / "bundles").only.bundle
    plan_launch(bundle, dry=True)
    videos = own_demo / "data/videos"
    (videos / "red_right.mp4").write_bytes((videos / "red_right.mp4").read_bytes()[::-1])
    (videos / "blue_down.mp4").unlink()
    vae = own_demo / "model/vae/diffusion_pytorch_model.safetensors"
    content = vae.read_bytes()
    vae.unlink()
    vae.write_bytes(content[::-1])
    with pytest.raises(UserError, match="not what the bundle names") as refused:
        plan_launch(bundle, dry=True)
    for sentence in (
        "vae/diffusion_pytorch_model.safetensors has other bytes",
        "videos/red_right.mp4 has other bytes",
        "videos/blue_down.mp4 is missing",
    ):
        assert sentence in str(refused.value)
    plan_launch(bundle)


def test_scanned_clips_are_not_hashed_again(
    own_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = known_digests._digest

    def read(path: Path, known: KnownFiles, *, rehash: bool) -> str:
        assert path.suffix != ".mp4"
        return hashed(path, known, rehash=rehash)

    bundle = compile_file(own_demo / "spec.yaml", tmp_path / "bundles").only.bundle
    monkeypatch.setattr(known_digests, "_digest", read)
    plan_launch(bundle, dry=True)


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Not as root, whom no permission stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_bundle_that_can_not_be_written_needs_an_output_folder(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Somewhere that every user can reach, unlike pytest's own folders.
    shared = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    shared.chmod(0o755)
    runs = shared / "runs"
    try:
        runs.mkdir(mode=0o555)
        monkeypatch.setenv("CVBUNDLE_OUTPUT_DIR", str(runs))
        sentence = rf"^runs can't be written to {runs}/\w+: set CVBUNDLE_OUTPUT_DIR [^\n]+$"
        with _as_nobody(), pytest.raises(UserError, match=sentence):
            _require_writable(runs / compiled.bundle.name)
        runs.chmod(0o777)
        with _as_nobody():
            _require_writable(runs / compiled.bundle.name)
        (shared / "file").touch()
        monkeypatch.setenv("CVBUNDLE_OUTPUT_DIR", str(shared / "file"))
        with pytest.raises(UserError, match="runs can't be written to"):
            require_places(compiled.bundle)
    finally:
        shutil.rmtree(shared)


@pytest.fixture
def pinned(hub_demo: Path, tmp_path: Path) -> Path:
    """A bundle that pins a commit of the hub, whose files are in the cache."""
    return compile_file(hub_demo / "spec.yaml", tmp_path / "bundles").only.bundle.folder


@pytest.fixture
def cached(hub_demo: Path) -> Path:
    """The repository's folder in the hub's cache."""
    return hub_demo.parent / "hub" / REPOSITORY


def test_hub_weights_are_identified_by_their_blob_names(pinned: Path, cached: Path) -> None:
    for blob in (cached / "blobs").iterdir():
        blob.write_bytes(b"not read")
    assert plan_launch(Bundle(pinned), dry=True).finished is None


def test_the_pinned_commit_is_used_wherever_the_branch_points(pinned: Path, cached: Path) -> None:
    other = "f" * 40
    shutil.copytree(cached / "snapshots" / COMMIT, cached / "snapshots" / other, symlinks=True)
    (cached / "refs/main").write_text(other)
    plan_launch(Bundle(pinned))


def test_another_commit_in_the_cache_is_refused(pinned: Path, cached: Path) -> None:
    other = "f" * 40
    (cached / "snapshots" / COMMIT).rename(cached / "snapshots" / other)
    (cached / "refs/main").write_text(other)
    sentence = rf"at commit {COMMIT}, but .* has {other}: run `hf download .* {COMMIT}`$"
    with pytest.raises(UserError, match=sentence):
        plan_launch(Bundle(pinned))


def test_another_digest_under_the_same_commit_is_refused(pinned: Path, cached: Path) -> None:
    link = cached / "snapshots" / COMMIT / "vae/diffusion_pytorch_model.safetensors"
    old = link.resolve()
    blob = cached / "blobs" / ("ab" * 32)
    blob.write_bytes(b"another")
    link.unlink()
    link.symlink_to(blob)
    with pytest.raises(UserError, match=f"is {blob.name}, but was {old.name} when the bundle"):
        plan_launch(Bundle(pinned))


@pytest.mark.parametrize("lost", ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"])
def test_an_interrupted_download_is_named_with_its_command(
    lost: str, pinned: Path, cached: Path
) -> None:
    (cached / "snapshots" / COMMIT / lost).resolve().unlink()
    with pytest.raises(UserError, match=rf"hf download THUDM/CogVideoX-2b --revision {COMMIT}`$"):
        plan_launch(Bundle(pinned))


def test_another_model_than_the_pinned_one_is_refused(
    pinned: Path, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_MODEL_PATH", str(demo / "model"))
    sentence = f"pins THUDM/CogVideoX-2b at commit {COMMIT}, not {demo}/model: leave CVBUNDLE_MODEL"
    with pytest.raises(UserError, match=sentence):
        plan_launch(Bundle(pinned))


@pytest.mark.parametrize("model", [None, "THUDM/CogVideoX-2b"])
def test_a_hub_model_needs_no_path_when_unpacking(
    model: str | None, pinned: Path, hub_demo: Path, tmp_path: Path
) -> None:
    archive = archive_bundle(Bundle(pinned), tmp_path / "a.tar.zst").file
    bundle = unpack_archive(
        archive, tmp_path / "there", data_root=hub_demo / "data", model_path=model
    ).bundle
    plan_launch(bundle, dry=True)


def test_a_run_without_its_clips_ends_before_torch_is_imported(compiled: Compiled) -> None:
    code = (
        "import os, sys; from cvbundle.cli import main\n"
        "try: main(['run', sys.argv[1]])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    environment = {**os.environ, "CVBUNDLE_DATA_ROOT": "nowhere"}
    command = [sys.executable, "-c", code, str(compiled.bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: nowhere is not a folder: set CVBUNDLE_DATA_ROOT to that of the clips",
        "False",
    ]
    assert json.loads((compiled.bundle.folder / "local/paths.json").read_bytes())["data.root"]
