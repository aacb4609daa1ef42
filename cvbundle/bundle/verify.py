"""Whether a bundle is what was compiled: every file, nothing added, nothing missing."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cvbundle.bundle.layout import NAME_DIGITS, NOT_HASHED, REQUIRED, SUMS, is_hashed_file
from cvbundle.files.digest import sha256_bytes, sha256_file
from cvbundle.problems import UserError

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def hashed_files(bundle: Path) -> list[str]:
    """The files that a bundle's digest covers, by their path in it, sorted; not `SHA256SUMS`."""
    return sorted(name for name, is_folder in _covered(bundle) if not is_folder and name != SUMS)


def _covered(bundle: Path) -> Iterator[tuple[str, bool]]:
    """What lies in a bundle and is covered by its digest: paths, and whether each is a folder."""
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle).as_posix()
        if name.split("/")[0] not in NOT_HASHED:
            yield name, path.is_dir() and not path.is_symlink()


def sums_of(bundle: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Path to digest of a bundle's files as they are now; those that are `known` are not hashed."""
    names = hashed_files(bundle)
    return {name: known.get(name) or sha256_file(bundle / name) for name in names}


def sums_text(sums: Mapping[str, str]) -> str:
    """`SHA256SUMS` for path to digest."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))


def read_sums(bundle: Path) -> dict[str, str]:
    """Path to digest, as `SHA256SUMS` says.

    Raises:
        UserError: it isn't such a file.
    """
    try:
        content = (bundle / SUMS).read_bytes()
    except OSError:
        raise UserError(f"{bundle / SUMS} can't be read: this is no bundle") from None
    return parse_sums(content, str(bundle / SUMS))


def parse_sums(content: bytes, called: str) -> dict[str, str]:
    """Path to digest, as the text of a `SHA256SUMS` says; `called` is its name in errors.

    Raises:
        UserError: it isn't such a text, or not as `sums_text` writes one.
    """
    sums: dict[str, str] = {}
    last = ""
    for line in content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{called} has a line that is no digest: {line[:80]!r}")
        digest, name = match.groups()
        if name <= last:
            raise UserError(f"{called} is not sorted, or lists {name!r} twice")
        sums[name] = digest
        last = name
    return sums


def bundle_digest(bundle: Path) -> str:
    """The sha256 of a bundle's `SHA256SUMS`, which the bundle's name begins."""
    return sha256_file(bundle / SUMS)


def differences(bundle: Path) -> Iterator[str]:
    """What is not as compiled, a sentence each; none where the bundle is whole."""
    try:
        content = (bundle / SUMS).read_bytes()
    except OSError:
        raise UserError(f"{bundle / SUMS} can't be read: this is no bundle") from None
    digest, name = sha256_bytes(content)[:NAME_DIGITS], bundle.resolve().name
    wrong: list[str] = []
    try:
        wrong += _against(bundle, parse_sums(content, SUMS))
    except UserError as error:
        wrong.append(str(error))
    if digest != name and wrong:
        yield f"the folder is named {name}, its digest is {digest}"
    elif digest != name:
        yield (
            f"the folder is named {name}, and holds bundle {digest}, which is whole: "
            f"if that is the one you mean, rename the folder to {digest}"
        )
    yield from wrong


def _against(bundle: Path, sums: dict[str, str]) -> Iterator[str]:
    present = dict(_covered(bundle))
    present.pop(SUMS, None)
    folders = {str(above) for name in sums for above in PurePosixPath(name).parents}
    for name in sorted({*present, *sums, *REQUIRED}):
        path = bundle / name
        if name not in sums and name in REQUIRED:
            yield f"{SUMS} does not list {name}"
        elif name in sums and not is_hashed_file(name):
            yield f"{name} is no file of a bundle"
        elif name not in present:
            yield f"{name} is missing"
        elif present[name] and name not in sums:
            if name not in folders:
                yield f"{name}/ was added"
        elif name not in sums:
            yield f"{name} was added"
        elif path.is_symlink():
            yield f"{name} is a link"
        elif not path.is_file():
            # Reading a pipe would wait for ever.
            yield f"{name} is not a file"
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
