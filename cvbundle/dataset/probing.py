"""Probe files of a dataset, in this process or a worker."""

from pathlib import Path

from attrs import frozen

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.images import ImageFile, probe_image
from cvbundle.dataset.limits import too_much_memory
from cvbundle.dataset.probe import PROBE_VERSION, Depth, Probed, probe
from cvbundle.files.identity import Identity, identity_of
from cvbundle.problems import UserError

ProbeResult = Probed | ImageFile | BadClip
"""The contents of a file, or why it can't be used."""


@frozen
class File:
    """A file to probe."""

    path: str
    is_image: bool = False


@frozen
class ProbeTask:
    """Files that one worker probes one after another."""

    files: tuple[File, ...]
    identities: tuple[Identity, ...]
    """The files' identities when the task was created."""
    depth: Depth
    version: int
    """`PROBE_VERSION` of the process that created the task."""


def probe_files(task: ProbeTask) -> list[ProbeResult]:
    """Probe the files of a task.

    Raises:
        UserError: the task was created by another version of the probe.
    """
    require_version(task)
    pairs = zip(task.files, task.identities, strict=True)
    return [probe_file(file, identity, task.depth) for file, identity in pairs]


def require_version(task: ProbeTask) -> None:
    """Raise `UserError` if the task was created by another version of the probe."""
    if task.version != PROBE_VERSION:
        raise UserError(
            f"a worker has version {PROBE_VERSION} of the probe, not {task.version}: "
            "install the same cvbundle on all machines"
        )


def probe_file(file: File, identity: Identity, depth: Depth) -> ProbeResult:
    """Probe a file, which had this identity when the task was created."""
    path = Path(file.path)
    try:
        result = probe_image(path) if file.is_image else probe(path, depth)
        size, changed, _, _ = identity_of(path.stat())
    except BadClip as error:
        return error
    except OSError as error:
        return BadClip("clip-unreadable", f"can't be read ({error.strerror})", lasting=False)
    except MemoryError:
        return too_much_memory()
    # Inodes are not compared: machines may number the files of a network share differently.
    if (size, changed) != identity[:2]:
        return BadClip("clip-unreadable", "changed during the scan", lasting=False)
    return result
