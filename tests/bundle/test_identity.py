"""A bundle's name depends on what determines the result, and on nothing else."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.bundle.build import Compiled, compile_file


def _compile_elsewhere(demo: Path, out: Path, umask: int, **environment: str) -> str:
    """The last line of `cvbundle compile`, run as a process of its own."""
    command = [sys.executable, "-m", "cvbundle.cli", "compile", str(demo / "spec.yaml")]
    result = subprocess.run(
        [*command, "--out", str(out)],
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(result.stdout.splitlines()[-1]).name


def test_folder_umask_locale_time_zone_and_hash_seed_do_not_matter(
    demo: Path, own_demo: Path, tmp_path: Path
) -> None:
    here = _compile_elsewhere(demo, tmp_path / "a", 0o022, PYTHONHASHSEED="1", TZ="UTC")
    there = _compile_elsewhere(
        own_demo, tmp_path / "b", 0o077, PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C.UTF-8"
    )
    assert here == there


def test_the_name_is_the_digest_of_the_sums(compiled: Compiled) -> None:
    sums = (compiled.bundle / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == compiled.digest
    assert compiled.bundle.name == compiled.digest[:16]


def test_sha256sum_verifies_a_bundle(compiled: Compiled) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=compiled.bundle,
        check=True,
    )


def test_the_sums_list_every_file_that_is_not_local_or_of_a_run(compiled: Compiled) -> None:
    listed = {line[66:] for line in (compiled.bundle / "SHA256SUMS").read_text().splitlines()}
    present = {
        path.relative_to(compiled.bundle).as_posix()
        for path in compiled.bundle.rglob("*")
        if path.is_file()
    }
    assert listed == {
        name
        for name in present
        if not name.startswith(("local/", "runs/")) and name != "SHA256SUMS"
    }


def test_config_compiled_again_is_the_same_bundle(compiled: Compiled, demo: Path) -> None:
    again = compile_file(
        compiled.bundle / "config.json",
        compiled.bundle.parent,
        data_root=demo / "data",
        model_path=str(demo / "model"),
    ).only
    assert again.digest == compiled.digest
    assert not again.created


def test_comments_layout_and_written_defaults_do_not_matter(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    spec = own_demo / "spec.yaml"
    text = spec.read_text().replace("steps: 20\n  batch_size: 2", "{steps}")
    text = text.replace("{steps}", "batch_size: 2   # two\n  seed: 42\n  steps: 20", 1)
    spec.write_text(f"# another comment\n{text}")
    assert compile_file(spec, tmp_path / "other").only.digest == compiled.digest


@pytest.mark.parametrize(
    ("setting", "section"),
    [
        ("training.learning_rate=0.002", "a setting"),
        ("data.frame_sampling=head", "which frames"),
        ("data.caption_prefix=sks ", "a caption"),
    ],
)
def test_what_determines_the_result_changes_the_name(
    setting: str, section: str, compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=[setting]).only
    assert other.digest != compiled.digest, section


def test_a_clip_of_other_bytes_changes_the_name(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    videos = own_demo / "data/videos"
    shutil.copy(videos / "blue_down.mp4", videos / "red_right.mp4")
    assert compile_file(own_demo / "spec.yaml", tmp_path / "other").only.digest != compiled.digest


def test_weights_of_other_bytes_change_the_name(
    compiled: Compiled, own_demo: Path, tmp_path: Path
) -> None:
    weights = own_demo / "model/vae/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    assert compile_file(own_demo / "spec.yaml", tmp_path / "other").only.digest != compiled.digest
