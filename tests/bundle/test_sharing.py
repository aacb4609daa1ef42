"""Bundles in one store share their large files, if that is safe."""

import os
import shutil
from pathlib import Path

import pytest

from cvbundle.archive.pack import archive_bundle
from cvbundle.archive.unpack import unpack_archive
from cvbundle.bundle import sharing
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.verify import differences
from cvbundle.compiler.build import compile_file

SHARED = "dataset.jsonl"


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_LARGE", 1)


def _compile(demo: Path, store: Path, rank: int) -> Path:
    settings = [f"lora.rank={rank}"]
    return compile_file(demo / "spec.yaml", store, settings=settings).only.bundle.folder


def _shared(one: Path, two: Path, name: str = SHARED) -> bool:
    assert not list(differences(Bundle(one)))
    assert not list(differences(Bundle(two)))
    return (one / name).samefile(two / name)


def test_points_of_a_sweep_share_their_files(demo: Path, tmp_path: Path) -> None:
    settings = ["sweep={lora.rank: [4, 8]}"]
    one, two = compile_file(demo / "spec.yaml", tmp_path, settings=settings).bundles
    assert _shared(one.bundle.folder, two.bundle.folder)
    assert not _shared(one.bundle.folder, two.bundle.folder, "config.json")


def test_bundles_of_separate_compilations_share_their_files(demo: Path, tmp_path: Path) -> None:
    one, two = _compile(demo, tmp_path, 4), _compile(demo, tmp_path, 8)
    assert _shared(one, two)
    assert _shared(one, two, "code/cvbundle/training/train.py")
    assert {path.stat().st_mode & 0o777 for path in (one / SHARED, two / SHARED)} == {0o444}
    assert not [path for path in two.rglob("*") if path.name.endswith(".link")]


def test_an_unpacked_bundle_shares_files_with_the_store(demo: Path, tmp_path: Path) -> None:
    one = _compile(demo, tmp_path / "there", 4)
    archive = archive_bundle(
        Bundle(_compile(demo, tmp_path / "here", 8)), tmp_path / "a.tar.zst"
    ).file
    assert _shared(unpack_archive(archive, tmp_path / "there").bundle.folder, one)


def test_a_shared_file_is_read_only_again_after_a_bundle_was_made_writable_to_be_removed(
    demo: Path, tmp_path: Path
) -> None:
    one, two = _compile(demo, tmp_path, 4), _compile(demo, tmp_path, 8)
    (one / SHARED).chmod(0o644)
    assert (two / SHARED).stat().st_mode & 0o222
    three = _compile(demo, tmp_path, 16)
    assert _shared(three, two)
    assert not (two / SHARED).stat().st_mode & 0o222


def test_small_files_are_not_shared(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_LARGE", 1 << 20)
    assert not _shared(_compile(demo, tmp_path, 4), _compile(demo, tmp_path, 8))


@pytest.mark.parametrize("doubt", ["other bytes", "a link", "gone", "another's"])
def test_a_file_that_differs_or_could_change_is_not_shared(
    doubt: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _compile(demo, tmp_path, 4)
    path = one / SHARED
    content = path.read_bytes()
    path.chmod(0o644)
    if doubt == "other bytes":
        path.write_bytes(content.replace(b"red", b"rod"))
    if doubt in ("a link", "gone"):
        path.rename(tmp_path / "elsewhere")
    if doubt == "a link":
        path.symlink_to(tmp_path / "elsewhere")
    if doubt == "another's":
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    two = _compile(demo, tmp_path, 8)
    assert (two / SHARED).lstat().st_nlink == 1
    assert (two / SHARED).read_bytes() == content
    assert not list(differences(Bundle(two)))


@pytest.mark.parametrize("step", ["compile", "unpack"])
def test_a_disk_without_links_gets_copies(
    step: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    settings = ["sweep={lora.rank: [4, 8]}"]
    compiled = compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings)
    one, two = (each.bundle for each in compiled.bundles)
    if step == "unpack":
        archive = archive_bundle(one, tmp_path / "a.tar.zst").file
        shutil.copytree(two, tmp_path / "there" / two.name)
        one = unpack_archive(archive, tmp_path / "there").bundle
        two = Bundle(tmp_path / "there" / two.name)
    assert not _shared(one.folder, two.folder)
    assert not [path for path in one.folder.rglob("*") if path.name.endswith(".link")]
