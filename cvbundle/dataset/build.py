"""From a dataset's folder to its manifest, in one call."""

from concurrent.futures import Executor
from pathlib import Path

from attrs import evolve

from cvbundle.cache_folder import cache_folder
from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.layouts import list_entries
from cvbundle.dataset.probe import PROBE_VERSION, Depth
from cvbundle.dataset.progress import Progress
from cvbundle.dataset.scan import scan
from cvbundle.dataset.scan_cache import scan_cache
from cvbundle.dataset.snapshot import Seen, recall, remember, snapshot_key
from cvbundle.dataset.writing import Summary, write_manifest
from cvbundle.spec.schema import Data


def write_dataset(
    data: Data,
    root: Path,
    dataset: Path,
    skipped: Path,
    *,
    limit: TokenLimit | None = None,
    executor: Executor | None = None,
    rehash: bool = False,
    depth: Depth = Depth.NEEDED,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Summary:
    """List and open the clips that `data` names below `root`, and write the manifest.

    A dataset in which nothing changed since it was last written is only looked over, and clips that
    didn't change are not opened again. Where the summary is blocked, the files must not be used.

    Args:
        data: what is trained on.
        root: the dataset's folder.
        dataset: the manifest to write.
        skipped: the list of what was left out to write, if anything was.
        limit: the longest caption.
        executor: where clips are opened; see `scan`.
        rehash: believe nothing that was seen before.
        depth: how much of a clip is decoded to judge it.
        progress: hears how far it is.
        cache: the folder of what was seen before; None means the user's.

    Raises:
        UserError: a list is missing or isn't what it should be, or a process died.
    """
    folder = cache or cache_folder()
    key = snapshot_key(data, root, limit, depth)
    if key is not None and not rehash:
        recalled = recall(folder / "manifests" / key, dataset, skipped)
        if recalled is not None:
            return recalled
    listing = list_entries(data, root, limit=limit)
    seen = Seen()
    with scan_cache(PROBE_VERSION, folder) as known:
        rows = scan(
            listing.entries,
            data,
            root,
            executor=executor,
            cache=known,
            rehash=rehash,
            depth=depth,
            progress=progress,
            note=seen.note,
        )
        summary = write_manifest(rows, dataset, skipped)
    summary = evolve(summary, problems=listing.problems + summary.problems)
    # A list that changed meanwhile has another key.
    if not summary.blocked and key is not None and key == snapshot_key(data, root, limit, depth):
        remember(folder / "manifests" / key, seen, summary, dataset, skipped)
    return summary
