"""Open a side of a comparison: a bundle, an archive of one, or a spec."""

from pathlib import Path

from attrs import frozen

from cvbundle.archive.unpack import unpack_archive
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import RUNS
from cvbundle.bundle.run import Run, list_runs
from cvbundle.bundle.store import STORE, find_bundle
from cvbundle.compiler.build import compile_file
from cvbundle.problems import UserError

_SPECS = (".json", ".yaml", ".yml")
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
"""Magic number of a zstandard file (RFC 8878, 3.1.1)."""


@frozen
class Side:
    """A bundle to compare."""

    name: str
    """The bundle, archive or spec, as given by the user."""
    bundle: Bundle
    runs: tuple[Run, ...]


def open_side(text: str, temporary: Path, store: Path = STORE) -> Side:
    """Open the bundle that `text` names; an archive is unpacked, a spec compiled, in `temporary`.

    Raises:
        UserError: there is no such bundle, or the archive is refused.
        ProblemsFound: the spec can't be compiled.
    """
    path = Path(text)
    if not path.is_file():
        bundle = find_bundle(text, store)
        return Side(text, bundle, bundle.runs)
    if path.suffix in _SPECS:
        compiled = compile_file(path, temporary).bundles
        if len(compiled) > 1:
            raise UserError(
                f"{text} is a sweep of {len(compiled)} bundles: compile it, and compare one of them"
            )
        return Side(text, compiled[0].bundle, ())
    with path.open("rb") as file:
        if file.read(4) != _ZSTANDARD:
            raise UserError(f"{text} is neither a bundle, nor an archive, nor a spec")
    bundle = unpack_archive(path, temporary).bundle
    # An archive contains its own runs, wherever the environment puts those of other bundles.
    return Side(text, bundle, list_runs(bundle.folder / RUNS))
