"""Archives can be at any URL that fsspec supports; the S3 server here is a real one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.compiler.build import Compiled
from cvbundle.problems import UserError


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket on an S3 server of the test's own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    # Connections are kept by what they were asked with, and the address stands elsewhere. What is
    # in a bucket is kept by the process, not by the server.
    S3FileSystem.clear_instance_cache()
    fsspec.filesystem("s3").mkdir(f"bundles-{port}")
    yield f"s3://bundles-{port}"
    S3FileSystem.clear_instance_cache()
    server.stop()


def test_an_archive_goes_to_s3_and_back(bucket: str, compiled: Compiled, tmp_path: Path) -> None:
    address = f"{bucket}/deep/a.tar.zst"
    assert archive_bundle(compiled.bundle, address).file == address
    local = archive_bundle(compiled.bundle, tmp_path / "a.tar.zst").file
    with fsspec.open(address) as file:
        assert file.read() == Path(local).read_bytes()
    assert unpack_archive(address, tmp_path / "there").bundle.digest == compiled.digest


def test_commands_accept_urls(bucket: str, compiled: Compiled, tmp_path: Path) -> None:
    def cvbundle(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    address = f"{bucket}/a.tar.zst"
    done = cvbundle("archive", compiled.bundle, "-o", address, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["archive"] == address
    assert cvbundle("unpack", address).stdout.strip() == f"bundles/{compiled.bundle.name}"
    missing = cvbundle("unpack", f"{bucket}/none.tar.zst")
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"error: {bucket}/none.tar.zst can't be reached: ")


def test_a_hostile_archive_is_refused_from_anywhere(bucket: str, tmp_path: Path) -> None:
    with fsspec.open(f"{bucket}/evil.tar.zst", "wb") as file:
        file.write(b"x" * 100_000)
    with pytest.raises(UserError, match=r"evil\.tar\.zst is refused: it is damaged"):
        unpack_archive(f"{bucket}/evil.tar.zst", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_failed_archive_is_not_uploaded(bucket: str, compiled: Compiled) -> None:
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_text("{}")
    with pytest.raises(UserError, match="is not what was compiled"):
        archive_bundle(compiled.bundle, f"{bucket}/a.tar.zst")
    assert fsspec.filesystem("s3").ls(bucket) == []


@pytest.mark.parametrize("address", ["nonsense://a/b", "s3://no-such-bucket/a.tar.zst"])
def test_an_unreachable_url_is_named(address: str, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be reached"):
        unpack_archive(address, tmp_path / "there")
