"""Bundles are signed and verified with ssh keys."""

import subprocess
from pathlib import Path

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.bundle.layout import SIGNATURE
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.execution.verification import verify_bundle
from cvbundle.problems import UserError


def _key(folder: Path, name: str) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return folder / name


def _signers(folder: Path, *keys: Path) -> Path:
    lines = [f"{key.name}@example.com {key.with_suffix('.pub').read_text()}" for key in keys]
    (folder / "signers").write_text("".join(lines))
    return folder / "signers"


def test_a_signature_travels_and_names_its_signer(compiled: Compiled, tmp_path: Path) -> None:
    key = _key(tmp_path, "ada")
    signers = _signers(tmp_path, _key(tmp_path, "bob"), key)
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", key=key).file)
    again = Path(archive_bundle(compiled.bundle, tmp_path / "b.tar.zst", key=key).file)
    assert archive.read_bytes() == again.read_bytes()
    bundle = unpack_archive(archive, tmp_path / "there", signers=signers).bundle
    result = verify_bundle(bundle, clips=False, weights=False, signers=signers)
    assert result.verified
    assert result.signer == "ada@example.com"


def test_a_stranger_s_signature_is_not_enough(compiled: Compiled, tmp_path: Path) -> None:
    signers = _signers(tmp_path, _key(tmp_path, "ada"))
    key = _key(tmp_path, "eve")
    archive = Path(archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", key=key).file)
    with pytest.raises(UserError, match=r"is not signed by anyone in .*signers"):
        unpack_archive(archive, tmp_path / "there", signers=signers)
    assert not (tmp_path / "there").exists()
    result = verify_bundle(compiled.bundle, signers=signers)
    assert not result.verified
    assert result.signer is None


def test_a_signature_of_another_bundle_is_not_enough(
    compiled: Compiled, demo: Path, tmp_path: Path
) -> None:
    key = _key(tmp_path, "ada")
    archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", key=key)
    settings = ["training.seed=1"]
    other = compile_file(demo / "spec.yaml", tmp_path / "other", settings=settings).only.bundle
    (other.folder / SIGNATURE).write_bytes((compiled.bundle.folder / SIGNATURE).read_bytes())
    result = verify_bundle(other, signers=_signers(tmp_path, key))
    assert result.signature is not None
    assert "but of another content" in result.signature[0]


def test_a_bundle_without_a_signature_is_not_signed(compiled: Compiled, tmp_path: Path) -> None:
    signers = _signers(tmp_path, _key(tmp_path, "ada"))
    result = verify_bundle(compiled.bundle, signers=signers)
    assert result.signature == (f"{compiled.bundle.name} is not signed",)
    assert verify_bundle(compiled.bundle).signature is None


def test_a_file_that_is_not_a_key_is_named(compiled: Compiled, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    for key, words in ((tmp_path / "key", "can't sign"), (tmp_path / "none", "is not a key")):
        with pytest.raises(UserError, match=words):
            archive_bundle(compiled.bundle, tmp_path / "a.tar.zst", key=key)
        assert not (tmp_path / "a.tar.zst").exists()
