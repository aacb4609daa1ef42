"""Code in a bundle that this installation would not write: it is shown, and run only on demand."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import ACCELERATE, CODE, LAUNCH, NOT_HASHED, VALIDATION, is_beside
from cvbundle.bundle.packages import needed_distributions
from cvbundle.compiler.code import training_code
from cvbundle.compiler.rendered import accelerate_config, launch_script
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_EXCERPT_LINES = 20


class ForeignCode(UserError):
    """A bundle holds code from elsewhere; `excerpt` is the beginning of what is other about it."""

    def __init__(self, message: str, excerpt: tuple[str, ...]) -> None:
        super().__init__(message)
        self.excerpt = excerpt


def foreign_code(bundle: Bundle) -> list[str]:
    """The files that decide what is executed, as far as this installation would write others."""
    own, there = _own(bundle.spec), _there(bundle.folder)
    return sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))


def require_own_code(bundle: Bundle) -> None:
    """Raise unless this installation would write the same code.

    Raises:
        ForeignCode: it would not.
    """
    foreign = foreign_code(bundle)
    if not foreign:
        return
    named = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
    message = (
        f"{bundle.name} holds code that this installation would not write ({named}): "
        "read it, then run with --trust"
    )
    lines = list(_unified(foreign, _own(bundle.spec), _there(bundle.folder)))
    more = len(lines) - _EXCERPT_LINES
    tail = [f"… and {more} more lines"] if more > 0 else []
    raise ForeignCode(message, tuple(lines[:_EXCERPT_LINES] + tail))


def require_own_files(bundle: Bundle) -> None:
    """Raise if a folder of a bundle holds what none does, beside what its digest covers or in it.

    Nothing there is executed; but whoever put it there may know a way.

    Raises:
        UserError: it does.
    """
    strays = [
        name
        for folder in NOT_HASHED
        for name in _inside(bundle.folder, folder)
        if not is_beside(name)
    ]
    validation = bundle.spec.validation
    images = {*(validation.images or ())} if validation else set()
    strays += sorted({*_inside(bundle.folder, VALIDATION)} - images)
    if strays:
        raise UserError(
            f"{bundle.name} holds what no bundle does ({', '.join(strays[:5])}"
            f"{', …' if len(strays) > 5 else ''}): remove that, or run with --trust"
        )


def _inside(bundle: Path, name: str) -> list[str]:
    """The paths in a bundle's folder of what is in one of its folders."""
    folder = bundle / name
    return sorted(f"{name}/{path.name}" for path in folder.iterdir()) if folder.is_dir() else []


def require_own_packages(bundle: Bundle) -> None:
    """Raise unless the lock names the packages that this installation would lock.

    To install another one is to run its code, and one that the lock lacks could be of any version.

    Raises:
        UserError: it names others.
    """
    locked = {*bundle.requirements}
    needed = {*needed_distributions(training_code().packages, bundle.spec)}
    hint = "look at requirements.txt, then run with --trust"
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


def _there(bundle: Path) -> dict[str, bytes]:
    files = (path for path in (bundle / CODE).rglob("*") if path.is_file())
    code = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in files}
    return code | {name: (bundle / name).read_bytes() for name in (LAUNCH, ACCELERATE)}


def _unified(
    names: list[str], own: Mapping[str, bytes], there: Mapping[str, bytes]
) -> Iterator[str]:
    """The changed lines without those around them: `-` this installation's, `+` the bundle's."""
    for name in names:
        old, new = (
            files.get(name, b"").decode("utf-8", "replace").splitlines() for files in (own, there)
        )
        for line in difflib.unified_diff(old, new, f"here/{name}", f"bundle/{name}", "", "", 0, ""):
            yield "".join(map(_printable, line))


def _printable(character: str) -> str:
    """What a terminal would obey, as an escape."""
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape").decode()
