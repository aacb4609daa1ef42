"""Refuse code in a bundle that this installation would not write, unless the user trusts it."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import ACCELERATE, CODE, LAUNCH, NOT_HASHED, VALIDATION, is_local_or_run
from cvbundle.bundle.packages import needed_distributions
from cvbundle.compiler.code import training_code
from cvbundle.compiler.rendered import accelerate_config, launch_script
from cvbundle.files.digest import sha256_bytes
from cvbundle.problems import UserError, printable
from cvbundle.spec.schema import Spec

_EXCERPT_LINES = 20


class ForeignCode(UserError):
    """A bundle has code that this installation would not write; `details` starts its diff."""

    def __init__(self, message: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.details = details


def foreign_code(bundle: Bundle, sums: Mapping[str, str]) -> list[str]:
    """The executed files that this installation would not write, sorted.

    Compares digests: `sums` is path to digest of the bundle's files as verified, so that what is
    compared is what runs.
    """
    own = {name: sha256_bytes(content) for name, content in _own(bundle.spec).items()}
    executed = {name for name in sums if name in own or name.startswith(f"{CODE}/")}
    return sorted(name for name in own.keys() | executed if own.get(name) != sums.get(name))


def require_own_code(bundle: Bundle, sums: Mapping[str, str]) -> None:
    """Raise unless this installation would write the same code.

    `sums` is path to digest of the bundle's files, as verified.

    Raises:
        ForeignCode: it would not; its `details` are the first lines of the difference.
    """
    foreign = foreign_code(bundle, sums)
    if not foreign:
        return
    names = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
    lines = list(_unified(foreign, _own(bundle.spec), bundle.folder))
    more = len(lines) - _EXCERPT_LINES
    tail = [f"… and {more} more lines"] if more > 0 else []
    raise ForeignCode(
        f"{bundle.name} has code that this installation would not write ({names}): "
        "read it, then run with --trust",
        tuple(lines[:_EXCERPT_LINES] + tail),
    )


def require_own_files(bundle: Bundle) -> None:
    """Raise if a bundle has files that none has, in `local/`, `runs/` or `validation/`.

    Our code executes none of them, but an attacker may know a way.

    Raises:
        UserError: it has; names the first.
    """
    strays = [
        name
        for folder in NOT_HASHED
        for name in _inside(bundle.folder, folder)
        if not is_local_or_run(name)
    ]
    validation = bundle.spec.validation
    images = {*(validation.images or ())} if validation else set()
    strays += sorted({*_inside(bundle.folder, VALIDATION)} - images)
    if strays:
        raise UserError(
            f"{bundle.name} has files that no bundle has ({', '.join(strays[:5])}"
            f"{', …' if len(strays) > 5 else ''}): remove them, or run with --trust"
        )


def _inside(bundle: Path, name: str) -> list[str]:
    """The paths in a bundle's folder of what is in one of its folders."""
    folder = bundle / name
    return sorted(f"{name}/{path.name}" for path in folder.iterdir()) if folder.is_dir() else []


def require_own_packages(bundle: Bundle) -> None:
    """Raise unless the bundle locks the packages that this installation would lock.

    Installing another one would run its code; one that isn't locked could have any version.

    Raises:
        UserError: it locks others; names them.
    """
    locked = {*bundle.requirements}
    needed = {*needed_distributions(training_code().packages, bundle.spec)}
    hint = "read requirements.txt, then run with --trust"
    if foreign := sorted(locked - needed):
        raise UserError(
            f"{bundle.name} locks packages that its training doesn't need here "
            f"({', '.join(foreign)}): {hint}"
        )
    if missing := sorted(needed - locked):
        raise UserError(
            f"{bundle.name} doesn't lock all packages that its training needs here "
            f"({', '.join(missing)}): {hint}"
        )


def _own(spec: Spec) -> dict[str, bytes]:
    code = {f"{CODE}/{name}": source for name, source in training_code().files.items()}
    return code | {LAUNCH: launch_script(spec), ACCELERATE: accelerate_config(spec)}


def _unified(names: list[str], own: Mapping[str, bytes], folder: Path) -> Iterator[str]:
    """The changed lines without those around them: `-` this installation's, `+` the bundle's."""
    for name in names:
        path = folder / name
        contents = own.get(name, b""), path.read_bytes() if path.is_file() else b""
        old, new = (content.decode("utf-8", "replace").splitlines() for content in contents)
        for line in difflib.unified_diff(old, new, f"here/{name}", f"bundle/{name}", "", "", 0, ""):
            yield printable(line, keep="\t")
