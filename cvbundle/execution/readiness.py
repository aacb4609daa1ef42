"""Whether what a bundle only names is here: told before a trainer is started, which takes seconds.

The trainer looks at all of it again, and more closely, when it comes to use it.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from cvbundle.bundle.external import clips_folder, named_clips, named_weights, wrong_files
from cvbundle.bundle.layout import BLOBS, MODEL
from cvbundle.bundle.places import bundle_runs, local_paths
from cvbundle.files.digest import sha256_file
from cvbundle.files.expand import expanded
from cvbundle.files.known_digests import digest_of
from cvbundle.model.hub import cached_commits, is_offline, snapshot
from cvbundle.model.pin import blob_names
from cvbundle.problems import UserError


def require_places(bundle: Path) -> None:
    """Raise unless the model and the clips are where they should be, and runs can be written.

    No file is read for it but small ones.

    Raises:
        UserError: one is not.
    """
    hub = json.loads((bundle / MODEL).read_bytes())["hub"]
    if hub is None:
        _model_folder(bundle)
    else:
        _require_commit(bundle, hub["repository"], hub["commit"])
    _clips(bundle)
    _require_room_for_runs(bundle_runs(bundle))


def require_files(bundle: Path) -> None:
    """Raise unless each weight file and each clip holds what the bundle names.

    Those that did not change since they were read last are not read again. Of a model of the hub,
    `require_places` has looked at all that is known.

    Raises:
        UserError: one doesn't; names the first three.
    """
    wrong: list[str] = []
    files = named_weights(bundle)
    if files:
        wrong += wrong_files(_model_folder(bundle), files, digest_of)
    root = Path(os.path.realpath(_clips(bundle)))
    with _known_clips() as hashed:
        wrong += wrong_files(root, named_clips(bundle), hashed)
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UserError(f"not what the bundle names: {'; '.join(wrong[:3])}{more}")


def _model_folder(bundle: Path) -> Path:
    told = local_paths(bundle)["model.path"]
    if told is None:
        raise UserError("where the base model is is not known: set CVBUNDLE_MODEL_PATH")
    if not expanded(told).is_dir():
        raise UserError(f"{told} is no folder: set CVBUNDLE_MODEL_PATH to the base model's")
    return expanded(told)


def _clips(bundle: Path) -> Path:
    folder = clips_folder(bundle)
    if folder is None:
        raise UserError("where the clips are is not known: set CVBUNDLE_DATA_ROOT")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: set CVBUNDLE_DATA_ROOT to where the clips are")
    return folder


def _require_commit(bundle: Path, repository: str, commit: str) -> None:
    """The hub's cache has the commit that is pinned, whole, or it can be downloaded."""
    told = local_paths(bundle)["model.path"]
    pinned = f"{repository} at commit {commit}"
    if told != repository:
        raise UserError(f"the bundle pins {pinned}, not {told}: leave CVBUNDLE_MODEL_PATH out")
    download = f"run `hf download {repository} --revision {commit}`"
    folder = snapshot(repository, commit)
    if folder is None:
        there = ", ".join(cached_commits(repository)) or "nothing"
        if is_offline():
            raise UserError(
                f"the bundle pins {pinned}, of which the hub's cache here holds {there}: {download}"
            )
        return
    try:
        found = {file.path: file.sha256 for file in blob_names(folder)}
    except UserError as error:
        raise UserError(f"{pinned} is not whole here ({error}): {download}") from None
    try:
        recorded = json.loads((bundle / BLOBS).read_bytes())
    except FileNotFoundError:
        return
    for name in sorted({*recorded, *found}):
        if recorded.get(name) != found.get(name):
            raise UserError(
                f"{folder / name} is {found.get(name) or 'not there'}, and was "
                f"{recorded.get(name) or 'not there'} when the bundle was compiled: "
                f"remove {folder}, then {download}"
            )


def _require_room_for_runs(folder: Path) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        raise UserError(
            f"runs can't be written to {folder}: set CVBUNDLE_OUTPUT_DIR to a folder for them"
        )


@contextmanager
def _known_clips() -> Iterator[Callable[[Path], str]]:
    """Tells the sha256 of a clip: as the scan of its dataset saw it, or by hashing."""
    from cvbundle.dataset.bad_clip import BadClip
    from cvbundle.dataset.identity import identity_of
    from cvbundle.dataset.probe import PROBE_VERSION
    from cvbundle.dataset.scan_cache import scan_cache

    lock = Lock()
    with scan_cache(PROBE_VERSION) as cache:

        def hashed(path: Path) -> str:
            with lock:
                seen = cache.lookup({str(path): identity_of(path.stat())}).get(str(path))
            return sha256_file(path) if seen is None or isinstance(seen, BadClip) else seen.digest

        yield hashed
