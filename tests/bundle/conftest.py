"""The demo's bundle, compiled once for all tests of a module."""

import shutil
from pathlib import Path

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.compiler.build import compile_file


@pytest.fixture(scope="module")
def original(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The demo's bundle; nothing may be written into it."""
    return compile_file(demo / "spec.yaml", tmp_path_factory.mktemp("original")).only.bundle


@pytest.fixture
def bundle(original: Bundle, tmp_path: Path) -> Bundle:
    """A writable copy of it."""
    folder = tmp_path / "bundles" / original.name
    shutil.copytree(original.folder, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    return Bundle(folder)
