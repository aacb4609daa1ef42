"""The results of probing clips, stored so that unchanged ones aren't opened again."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import define

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.probing import ProbeResult
from cvbundle.dataset.results import result_as_text, result_from_text
from cvbundle.files.identity import Identity
from cvbundle.files.known_files import KnownFiles, known_files

_WHAT = "probe"


@define
class ScanCache:
    """The stored results of probing files."""

    _known: KnownFiles
    _version: int

    def lookup(self, files: Mapping[str, Identity]) -> dict[str, ProbeResult]:
        """The results of the files that are unchanged, by path."""
        results: dict[str, ProbeResult] = {}
        for path, value in self._known.lookup(_WHAT, files, version=self._version).items():
            digest, _, properties = value.partition(" ")
            results[path] = result_from_text(digest, files[path].size, properties)
        return results

    def keep(self, results: Iterable[tuple[str, Identity, ProbeResult]], *, began: int) -> None:
        """Store the results of files, which were probed after `began`, except passing failures."""
        values = [
            (path, identity, " ".join(result_as_text(result)))
            for path, identity, result in results
            if not isinstance(result, BadClip) or result.lasting
        ]
        self._known.keep(_WHAT, values, began=began, version=self._version)


@contextlib.contextmanager
def scan_cache(version: int, folder: Path | None = None) -> Iterator[ScanCache]:
    """The results of this `version` of the probe, in `folder` or the user's cache folder."""
    with known_files(folder) as known:
        yield ScanCache(known, version)
