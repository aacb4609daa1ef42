"""Provenance names the commit of a spec, and asks no program of a repository for it."""

import subprocess
from pathlib import Path

import pytest

from cvbundle.compiler.commit import spec_commit


def _git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=one", "-c", "user.email=one@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one file in one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    (folder / "spec.yaml").write_text("one\n")
    _git(folder, "add", "spec.yaml")
    _git(folder, "commit", "--quiet", "--message", "one")
    return folder


def test_a_clean_repository_is_its_commit_and_a_changed_one_is_dirty(repository: Path) -> None:
    commit = _git(repository, "rev-parse", "HEAD")
    assert spec_commit(repository) == commit
    # Written again with the same content: only reading tells.
    (repository / "spec.yaml").write_text("one\n")
    assert spec_commit(repository) == commit
    (repository / "spec.yaml").write_text("two\n")
    assert spec_commit(repository) == f"{commit}-dirty"


def test_a_folder_without_a_repository_has_no_commit(tmp_path: Path) -> None:
    assert spec_commit(tmp_path) is None


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.x.clean", "filter.x.process"])
def test_a_program_that_a_repository_names_is_not_run(setting: str, repository: Path) -> None:
    program = repository / ".git/program"
    program.write_text(f"#!/bin/sh\ntouch '{repository.parent}/executed'\ncat\n")
    program.chmod(0o755)
    _git(repository, "config", setting, str(program))
    (repository / ".git/info/attributes").write_text("* filter=x\n")
    (repository / "spec.yaml").write_text("two\n")
    commit = _git(repository, "rev-parse", "HEAD")
    said = "dirty" if setting == "core.fsmonitor" else "unchecked"
    assert spec_commit(repository) == f"{commit}-{said}"
    assert not (repository.parent / "executed").exists()
    subprocess.run(["git", "-C", repository, "status"], capture_output=True, check=False)
    assert (repository.parent / "executed").exists(), "the program is one that git would run"
