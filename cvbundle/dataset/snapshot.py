"""Cached manifests, so that an unchanged dataset isn't scanned again.

A snapshot's key covers everything that determines a manifest except the clips (lists, settings,
code); it is valid only while every file is unchanged. It is a folder in the user's cache folder;
the least recently used ones are removed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import asdict

from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.paths import not_a_file
from cvbundle.dataset.probe import Depth
from cvbundle.dataset.writing import Summary
from cvbundle.files.digest import canonical_json, json_file, sha256_bytes, sha256_file
from cvbundle.files.durable import new_file, new_folder, remove_tree
from cvbundle.files.identity import FileList
from cvbundle.problems import Place, Problem, Severity
from cvbundle.spec.schema import Data

_KEPT = 4
"""Snapshots to keep; each is as large as its manifest."""
_DATASET, _SKIPPED = "dataset.jsonl", "skipped.jsonl"
_SUMMARY = "summary.json"
_LISTED = ("paths", "states")
"""The files of a `FileList`."""


def snapshot_key(data: Data, root: Path, limit: TokenLimit | None, depth: Depth) -> str | None:
    """A digest of all that determines a manifest except the clips; None if in many files."""
    if "*" in data.video_column or data.caption_column.startswith("*"):
        return None
    names = (
        [data.metadata]
        if data.metadata is not None
        else [data.video_column, data.caption_column, data.image_column]
    )
    lists = [root / name for name in names if name is not None]
    if any(not_a_file(path) for path in lists):
        return None  # reported when they are read; reading a pipe would block
    code = sorted(Path(__file__).parent.glob("*.py"))
    try:
        digests = [sha256_file(path) for path in (*code, *lists)]
    except OSError:
        return None
    measured = None if limit is None else [limit.max_tokens, limit.tokenizer]
    settings = [repr(data), os.path.realpath(root), measured, depth.value, version("av")]
    return sha256_bytes(canonical_json([settings, digests]))


def recall(folder: Path, dataset: Path, skipped: Path) -> Summary | None:
    """Write the manifest of a snapshot, if it is complete and all its files are unchanged."""
    try:
        stored: dict[str, Any] = json.loads((folder / _SUMMARY).read_bytes())
        digests: Mapping[str, str] = stored["digests"]
        if any(sha256_file(folder / name) != digest for name, digest in digests.items()):
            return None
        files = FileList(*((folder / name).read_bytes() for name in _LISTED))
        if not files.are_unchanged():
            return None
        summary = _summary(stored["summary"])
        _copy(folder / _DATASET, dataset)
        if _SKIPPED in digests:
            _copy(folder / _SKIPPED, skipped)
        # The modification time decides which snapshot is removed first.
        os.utime(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # Incomplete or damaged: not a snapshot.
        return None
    return summary


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, new_file(target) as new:
        shutil.copyfileobj(old, new, 1 << 20)


def remember(
    folder: Path, files: FileList, summary: Summary, dataset: Path, skipped: Path, *, began: int
) -> None:
    """Store a manifest of a scan that began then; otherwise the next call scans again.

    It is not stored if a later change of a file might not show, or the folder can't be written.
    """
    if not files.are_settled(began):
        return
    try:
        remove_tree(folder)
        with new_folder(folder) as new:
            shutil.copyfile(dataset, new / _DATASET)
            if summary.skipped:
                shutil.copyfile(skipped, new / _SKIPPED)
            for name, content in zip(_LISTED, files.packed(), strict=True):
                (new / name).write_bytes(content)
            digests = {path.name: sha256_file(path) for path in sorted(new.iterdir())}
            data = asdict(summary, value_serializer=_plain)
            (new / _SUMMARY).write_bytes(json_file({"digests": digests, "summary": data}))
        # Hidden ones are being written by another process.
        stored = [path for path in folder.parent.iterdir() if not path.name.startswith(".")]
        for old in sorted(stored, key=lambda path: -path.stat().st_mtime_ns)[_KEPT:]:
            remove_tree(old)
    except OSError:
        return


def _plain(_: object, __: object, value: Any) -> Any:
    return value.value if isinstance(value, Severity) else value


def _summary(data: dict[str, Any]) -> Summary:
    problems = [
        Problem(
            **problem
            | {
                "severity": Severity(problem["severity"]),
                "place": Place(**problem["place"]),
                "path": tuple(problem["path"]),
            }
        )
        for problem in data["problems"]
    ]
    return Summary(**data | {"problems": tuple(problems)})
