"""Resolve hub ids to commits, and find their files in huggingface_hub's cache.

The cache layout is `models--ORG--NAME/{refs/<branch>, snapshots/<commit>/…}`, where a snapshot's
files are symlinks to `blobs/<etag>` and the etag of a large file is its sha256 (huggingface_hub
2.4.0, file_download.py).
"""

import os
import re
from pathlib import Path

from cvbundle.files.expand import expanded
from cvbundle.problems import UserError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def is_hub_id(path: str) -> bool:
    """Whether a model path has the form `org/name`."""
    return _HUB_ID.fullmatch(path) is not None


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash, which never changes its meaning."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def cache_folder() -> Path:
    """huggingface_hub's cache folder."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return expanded(named)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or str(Path(cache) / "huggingface")
    return expanded(home) / "hub"


def cached_commit(repository: str, revision: str | None) -> str | None:
    """The commit of a revision when it was last downloaded; None if it never was."""
    if is_commit(revision):
        return revision
    reference = _repository_folder(repository) / "refs" / (revision or "main")
    try:
        commit = reference.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if is_commit(commit) else None


def snapshot(repository: str, commit: str) -> Path | None:
    """The folder of a commit's files in the cache; None if it isn't cached."""
    folder = _repository_folder(repository) / "snapshots" / commit
    return folder if folder.is_dir() else None


def cached_commits(repository: str) -> list[str]:
    """The commits with files in the cache, sorted."""
    folder = _repository_folder(repository) / "snapshots"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def is_offline() -> bool:
    """Whether huggingface_hub is in offline mode (2.4.0, constants.py: HF_HUB_OFFLINE)."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def resolve_commit(repository: str, revision: str | None) -> str:
    """The current commit of a branch or tag.

    Raises:
        UserError: the hub can't be reached, or has no such repository or revision.
    """
    if is_commit(revision):
        assert revision is not None
        return revision
    from huggingface_hub import HfApi

    branch = revision or "main"
    try:
        commit = HfApi().model_info(repository, revision=branch, timeout=10).sha
    except hub_errors() as error:
        commit = cached_commit(repository, revision)
        if commit is None:
            raise UserError(
                f"{repository}: can't look up the commit of {branch} ({first_line(error)}); "
                "write the full commit as model.revision"
            ) from None
    if not is_commit(commit):
        raise UserError(f"{repository}: the hub has no commit for {branch}")
    assert commit is not None
    return commit


def hub_errors() -> tuple[type[Exception], ...]:
    """The exceptions that huggingface_hub raises if the hub or a file can't be reached."""
    from huggingface_hub import errors

    # The base class of its HTTP client, which depends on the version.
    client: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    return client, OSError


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _repository_folder(repository: str) -> Path:
    return cache_folder() / f"models--{repository.replace('/', '--')}"
