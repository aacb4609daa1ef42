"""Check that a bundle's inputs are here before its trainer is started, which takes seconds.

The trainer verifies the bytes of all of them when it uses them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.difference import FileDifference, changes, listed
from cvbundle.bundle.external_files import clip_files, differing_files, weight_files
from cvbundle.files.expand import expanded
from cvbundle.files.identity import identity_of
from cvbundle.files.known_digests import known_digests
from cvbundle.model.hub import cached_commits, is_offline, snapshot
from cvbundle.model.pin import blob_names
from cvbundle.problems import UserError


def require_places(bundle: Bundle) -> None:
    """Check that the base model and the clips are present, and that runs can be written.

    Reads only small files.

    Raises:
        UserError: something is missing; says which variable or command helps.
    """
    hub = bundle.model.hub
    if hub is None:
        _model_folder(bundle)
    else:
        _require_commit(bundle, hub.repository, hub.commit)
    _clips(bundle)
    _require_writable(bundle.runs_folder)


def require_files(bundle: Bundle) -> None:
    """Check the bytes of each weight file and each clip.

    Files that have not changed since they were last hashed are not read. For a hub model,
    `require_places` has compared the names of its blobs.

    Raises:
        UserError: a file differs; names the first three.
    """
    differing: list[FileDifference] = []
    files = weight_files(bundle)
    if files:
        with known_digests() as digest_of:
            differing += differing_files(_model_folder(bundle), files, digest_of)
    root = Path(os.path.realpath(_clips(bundle)))
    with _scanned_digests() as hashed:
        differing += differing_files(root, clip_files(bundle), hashed)
    if differing:
        raise UserError(f"not what the bundle names: {listed(differing)}")


def _model_folder(bundle: Bundle) -> Path:
    path = bundle.model_path
    if path is None:
        raise UserError("the folder of the base model is unknown: set CVBUNDLE_MODEL_PATH")
    if not expanded(path).is_dir():
        raise UserError(f"{path} is not a folder: set CVBUNDLE_MODEL_PATH to the base model's")
    return expanded(path)


def _clips(bundle: Bundle) -> Path:
    folder = bundle.data_root
    if folder is None:
        raise UserError("the folder of the clips is unknown: set CVBUNDLE_DATA_ROOT")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: set CVBUNDLE_DATA_ROOT to that of the clips")
    return folder


def _require_commit(bundle: Bundle, repository: str, commit: str) -> None:
    """Raise unless the hub's cache has the pinned commit, complete, or it can be downloaded."""
    path = bundle.model_path
    pinned = f"{repository} at commit {commit}"
    if path != repository:
        raise UserError(f"the bundle pins {pinned}, not {path}: leave CVBUNDLE_MODEL_PATH out")
    download = f"run `hf download {repository} --revision {commit}`"
    folder = snapshot(repository, commit)
    if folder is None:
        if is_offline():
            cached = ", ".join(cached_commits(repository)) or "nothing of it"
            raise UserError(
                f"the bundle pins {pinned}, but the hub's cache here has {cached}: {download}"
            )
        return
    try:
        present = {file.path: file.sha256 for file in blob_names(folder)}
    except UserError as error:
        raise UserError(f"{pinned} is incomplete here ({error}): {download}") from None
    if bundle.hub_blobs and (differing := changes(bundle.hub_blobs, present)):
        first = min(differing, key=lambda change: change.name)
        raise UserError(
            f"{folder / first.name} is {first.after or 'missing'}, but was "
            f"{first.before or 'missing'} when the bundle was compiled: "
            f"remove {folder}, then {download}"
        )


def _require_writable(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        raise UserError(
            f"runs can't be written to {folder}: set CVBUNDLE_OUTPUT_DIR to another folder"
        )


@contextmanager
def _scanned_digests() -> Iterator[Callable[[Path], str]]:
    """The sha256 of a clip, from the scan of its dataset if the clip has not changed since."""
    from cvbundle.dataset.bad_clip import BadClip
    from cvbundle.dataset.probe import PROBE_VERSION
    from cvbundle.dataset.scan_cache import scan_cache

    with scan_cache(PROBE_VERSION) as cache, known_digests() as digest_of:

        def hashed(path: Path) -> str:
            seen = cache.lookup({str(path): identity_of(path.stat())}).get(str(path))
            return digest_of(path) if seen is None or isinstance(seen, BadClip) else seen.digest

        yield hashed
