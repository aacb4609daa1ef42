"""Open files of a dataset, in whichever process that is done, and write down what was seen."""

from pathlib import Path

from attrs import frozen

from cvbundle.dataset.container import BadClip
from cvbundle.dataset.identity import Identity, identity_of
from cvbundle.dataset.images import ImageFile, probe_image
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed, probe
from cvbundle.dataset.rules import CLIP_UNREADABLE
from cvbundle.problems import UserError

Seen = Probed | ImageFile | BadClip
"""What a file holds, or why it can't be used."""


@frozen
class File:
    """A file that is to be opened."""

    path: str
    is_image: bool = False


@frozen
class Work:
    """Files to be opened one after another, wherever that is done."""

    files: tuple[File, ...]
    known: tuple[Identity, ...]
    """What they were when they were to be opened."""
    depth: Depth
    version: int
    """Of the code that asks: other code would judge otherwise."""


def open_files(work: Work) -> list[Seen]:
    """Open files.

    Raises:
        UserError: this is another version of the code than the one that asks.
    """
    if work.version != PROBE_VERSION:
        raise UserError(
            f"a worker judges clips as version {PROBE_VERSION} of the probe, not {work.version}: "
            "install the same cvbundle on all machines"
        )
    pairs = zip(work.files, work.known, strict=True)
    return [_open(file, known, work.depth) for file, known in pairs]


def _open(file: File, known: Identity, depth: Depth) -> Seen:
    path = Path(file.path)
    try:
        seen = probe_image(path) if file.is_image else probe(path, depth)
        size, changed, _, _ = identity_of(path.stat())
    except BadClip as error:
        return error
    except OSError as error:
        return BadClip(CLIP_UNREADABLE, f"can't be read ({error.strerror})", lasting=False)
    # Inodes are left out: two machines may number the files of one share differently.
    if (size, changed) != known[:2]:
        return BadClip(CLIP_UNREADABLE, "changed during the scan", lasting=False)
    return seen
