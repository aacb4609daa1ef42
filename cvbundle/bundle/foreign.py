"""Code in a bundle that this installation would not write: it is shown, and run only on demand."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from cvbundle.bundle.code import training_code
from cvbundle.bundle.environment import needed_distributions
from cvbundle.bundle.layout import CODE, LAUNCH
from cvbundle.bundle.rendered import launch_script
from cvbundle.bundle.requirements import read_requirements
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_EXCERPT_LINES = 20


class ForeignCode(UserError):
    """A bundle holds code from elsewhere; `excerpt` is the beginning of what is other about it."""

    def __init__(self, message: str, excerpt: tuple[str, ...]) -> None:
        super().__init__(message)
        self.excerpt = excerpt


def foreign_code(bundle: Path, spec: Spec) -> list[str]:
    """The files of `launch.sh` and `code/` that this installation would write otherwise."""
    own, there = _own(spec), _there(bundle)
    return sorted(name for name in own.keys() | there.keys() if own.get(name) != there.get(name))


def require_own_code(bundle: Path, spec: Spec) -> None:
    """Raise unless this installation would write the same code.

    Raises:
        ForeignCode: it would not.
    """
    foreign = foreign_code(bundle, spec)
    if not foreign:
        return
    named = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
    message = (
        f"{bundle.name} holds code that this installation would not write ({named}): "
        "read it, then run with --trust"
    )
    lines = list(_unified(foreign, _own(spec), _there(bundle)))
    more = len(lines) - _EXCERPT_LINES
    tail = [f"… and {more} more lines"] if more > 0 else []
    raise ForeignCode(message, tuple(lines[:_EXCERPT_LINES] + tail))


def require_own_packages(bundle: Path, spec: Spec) -> None:
    """Raise unless the lock names the packages that this installation would lock.

    To install another one is to run its code, and one that the lock lacks could be of any version.

    Raises:
        UserError: it names others.
    """
    locked = {*read_requirements(bundle)}
    needed = {*needed_distributions(training_code().packages, spec)}
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
    return code | {LAUNCH: launch_script(spec)}


def _there(bundle: Path) -> dict[str, bytes]:
    files = (path for path in (bundle / CODE).rglob("*") if path.is_file())
    code = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in files}
    return code | {LAUNCH: (bundle / LAUNCH).read_bytes()}


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
