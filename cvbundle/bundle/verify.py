"""Whether a bundle is what was compiled: every file, nothing added, nothing missing."""

from collections.abc import Iterator
from pathlib import Path

from cvbundle.bundle.layout import NAME_DIGITS, NOT_HASHED, SUMS
from cvbundle.digest import sha256_bytes, sha256_file
from cvbundle.problems import UserError


def hashed_files(bundle: Path) -> list[str]:
    """The files that a bundle's digest covers, by their path in it, sorted; not `SHA256SUMS`."""
    names = []
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle).as_posix()
        if name.split("/")[0] in NOT_HASHED or name == SUMS:
            continue
        if path.is_symlink() or not path.is_dir():
            names.append(name)
    return sorted(names)


def sums_text(bundle: Path) -> str:
    """`SHA256SUMS` of a bundle as its files are now."""
    return "".join(f"{sha256_file(bundle / name)}  {name}\n" for name in hashed_files(bundle))


def read_sums(bundle: Path) -> dict[str, str]:
    """Path to digest, as `SHA256SUMS` says.

    Raises:
        UserError: it isn't such a file.
    """
    sums: dict[str, str] = {}
    try:
        lines = (bundle / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{bundle / SUMS} can't be read: this is no bundle") from None
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise UserError(f"{bundle / SUMS} has a line that is no digest: {line[:80]}")
        sums[name] = digest
    return sums


def differences(bundle: Path) -> Iterator[str]:
    """What is not as compiled, a sentence each; none where the bundle is whole."""
    sums = read_sums(bundle)
    digest = sha256_bytes((bundle / SUMS).read_bytes())
    if digest[:NAME_DIGITS] != bundle.resolve().name:
        yield f"the folder is named {bundle.resolve().name}, its digest is {digest[:NAME_DIGITS]}"
    present = set(hashed_files(bundle))
    for name in sorted(present | set(sums)):
        path = bundle / name
        if name not in sums:
            yield f"{name} was added"
        elif name not in present:
            yield f"{name} is missing"
        elif path.is_symlink():
            yield f"{name} is a link"
        elif sha256_file(path) != sums[name]:
            yield f"{name} has other bytes"


def require_verified(bundle: Path) -> None:
    """Raise unless a bundle is whole.

    Raises:
        UserError: it is not; says what differs.
    """
    wrong = list(differences(bundle))
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UserError(f"{bundle} is not what was compiled: {'; '.join(wrong[:3])}{more}")
