"""Weights are pinned by their digests, which are cached while nothing changed."""

import os
import sqlite3
from pathlib import Path

import pytest

from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.compiler.scanning import Scanning
from cvbundle.execution.verification import verify_bundle
from cvbundle.files import known_digests
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.digest import sha256_file
from cvbundle.files.known_files import NAME
from cvbundle.model.pin import pin_folder, verify_files
from cvbundle.problems import UserError

VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def _every_file_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(known_digests, "_LARGE", 0)


def _believed(path: Path, digest: str) -> None:
    """Store a wrong digest of a file, as if the disk had changed its content."""
    with sqlite3.connect(cache_folder() / NAME) as database:
        key = os.fsencode(os.path.realpath(path))
        changed = database.execute("UPDATE known SET value = ? WHERE path = ?", [digest, key])
        assert changed.rowcount == 1
    database.close()


def test_unchanged_weights_are_hashed_only_on_request(own_demo: Path) -> None:
    folder = own_demo / "model"
    pinned = pin_folder(folder)
    assert all(file.sha256 == sha256_file(folder / file.path) for file in pinned)
    _believed(folder / VAE, "ab" * 32)
    assert {file.sha256 for file in pin_folder(folder)} - {file.sha256 for file in pinned} == {
        "ab" * 32
    }
    assert pin_folder(folder, rehash=True) == pinned


def test_modified_weights_are_hashed_before_they_are_used(own_demo: Path) -> None:
    folder = own_demo / "model"
    pinned = pin_folder(folder)
    verify_files(folder, pinned)
    content = bytearray((folder / VAE).read_bytes())
    content[-1] ^= 1
    (folder / VAE).unlink()
    (folder / VAE).write_bytes(content)
    with pytest.raises(UserError, match="has other bytes: it is not the model that this bundle"):
        verify_files(folder, pinned)


def test_rehash_compiles_from_the_actual_bytes(own_demo: Path, tmp_path: Path) -> None:
    spec = own_demo / "spec.yaml"
    first = compile_file(spec, tmp_path / "bundles").only
    _believed(own_demo / "model" / VAE, "ab" * 32)
    assert compile_file(spec, tmp_path / "bundles").only.digest != first.digest
    again = compile_file(spec, tmp_path / "bundles", scanning=Scanning(rehash=True)).only
    assert again.digest == first.digest


def test_verify_hashes_everything_and_a_run_then_uses_its_digests(
    compiled: Compiled, own_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_MODEL_PATH", str(own_demo / "model"))
    weights = own_demo / "model" / VAE
    pinned = pin_folder(own_demo / "model")
    right = sha256_file(weights)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.unlink()
    weights.write_bytes(content)
    pin_folder(own_demo / "model")
    # As where a disk gives other bytes than it was given.
    _believed(weights, right)
    verify_files(own_demo / "model", pinned)
    (differing,) = verify_bundle(compiled.bundle, clips=False).weights or ()
    assert (differing.path, differing.kind) == (VAE, "bytes")
    with pytest.raises(UserError, match="has other bytes"):
        verify_files(own_demo / "model", pinned)
