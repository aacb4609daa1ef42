"""Write the manifest of a dataset's folder in one call."""

import time
from collections.abc import Collection
from pathlib import Path

from attrs import evolve

from cvbundle.dataset.captions import TokenLimit
from cvbundle.dataset.listing import list_entries
from cvbundle.dataset.probe import PROBE_VERSION, Depth
from cvbundle.dataset.progress import Progress
from cvbundle.dataset.scan import Prober, scan
from cvbundle.dataset.scan_cache import scan_cache
from cvbundle.dataset.snapshot import recall, remember, snapshot_key
from cvbundle.dataset.writing import Summary, write_manifest
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.identity import FileList
from cvbundle.spec.schema import Data


def write_dataset(
    data: Data,
    root: Path,
    dataset: Path,
    skipped: Path,
    *,
    limit: TokenLimit | None = None,
    prober: Prober | None = None,
    rehash: bool = False,
    depth: Depth = Depth.NEEDED,
    progress: Progress | None = None,
    cache: Path | None = None,
    without: Collection[str] = (),
) -> Summary:
    """List and probe the clips that `data` names below `root`, and write the manifest.

    Unchanged clips are not opened again; for an unchanged dataset, file stats alone are compared.
    If the summary is blocked, the written files must not be used.

    Args:
        data: the `data` section of the spec.
        root: the dataset's folder.
        dataset: the manifest to write.
        skipped: the list of skipped samples to write, if there are any.
        limit: the longest caption.
        prober: where clips are opened; see `scan`.
        rehash: ignore cached results.
        depth: how much of a clip is decoded.
        progress: receives progress.
        cache: the cache folder; None means the user's.
        without: fields of `data` whose lists are not read.

    Raises:
        UserError: no worker process can be started.
    """
    folder = cache or cache_folder()
    key = None if without else snapshot_key(data, root, limit, depth)
    if key is not None and not rehash:
        recalled = recall(folder / "manifests" / key, dataset, skipped)
        if recalled is not None:
            return recalled
    listing = list_entries(data, root, limit=limit, without=without)
    files, began = FileList(), time.time_ns()
    with scan_cache(PROBE_VERSION, folder) as cached:
        rows = scan(
            listing.entries,
            data,
            root,
            prober=prober,
            cache=cached,
            rehash=rehash,
            depth=depth,
            progress=progress,
            on_file=files.add,
        )
        summary = write_manifest(rows, dataset, skipped)
    summary = evolve(summary, problems=listing.problems + summary.problems, refused=listing.refused)
    # A list that changed during the scan has another key.
    if not summary.blocked and key is not None and key == snapshot_key(data, root, limit, depth):
        remember(folder / "manifests" / key, files, summary, dataset, skipped, began=began)
    return summary
