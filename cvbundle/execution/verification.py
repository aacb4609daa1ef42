"""Verify a bundle: its own files, then the clips and the weights that it references."""

from functools import partial
from pathlib import Path

from attrs import frozen

from cvbundle.archive.signatures import signer
from cvbundle.bundle.external import clips_folder, named_clips, weights, wrong_files
from cvbundle.bundle.verify import differences
from cvbundle.files.known_digests import digest_of
from cvbundle.problems import UserError


@frozen(kw_only=True)
class Verification:
    """A sentence for each difference from the compiled bundle; None if not checked."""

    bundle: Path
    files: tuple[str, ...]
    clips: tuple[str, ...] | None
    weights: tuple[str, ...] | None
    signature: tuple[str, ...] | None
    signer: str | None
    """The allowed signer of the bundle; None if not requested, or not signed by one."""
    unknown: tuple[str, ...]
    """Why something requested could not be checked."""

    @property
    def verified(self) -> bool:
        """Whether nothing that was checked differs."""
        return not (self.files or self.clips or self.weights or self.signature)


def verify_bundle(
    bundle: Path, *, clips: bool = True, weights: bool = True, signers: Path | None = None
) -> Verification:
    """Verify a bundle's files, then its clips and weights unless they are left out.

    With a file of `signers`, one of them must have signed the bundle.

    Clips and weights are skipped if the bundle's own files differ, since its digests may be wrong.
    """
    files = tuple(differences(bundle))
    wrong: dict[str, tuple[str, ...] | None] = {"clips": None, "weights": None}
    unknown = []
    for kind, requested in (("clips", clips), ("weights", weights)):
        if requested and files:
            unknown.append(f"{kind} were not checked: the bundle itself differs")
        elif requested:
            wrong[kind] = _check(bundle, kind)
            if wrong[kind] is None:
                unknown.append(_unlocated(kind))
    who, unsigned = _signer(bundle, signers) if signers is not None else (None, None)
    return Verification(
        bundle=bundle,
        files=files,
        clips=wrong["clips"],
        weights=wrong["weights"],
        signature=unsigned,
        signer=who,
        unknown=tuple(unknown),
    )


def _check(bundle: Path, kind: str) -> tuple[str, ...] | None:
    if kind == "clips":
        folder = clips_folder(bundle)
        return None if folder is None else tuple(wrong_files(folder, named_clips(bundle)))
    located = weights(bundle)
    # Cached digests are ignored, but updated.
    hashed = partial(digest_of, rehash=True)
    return None if located is None else tuple(wrong_files(*located, hashed))


def _signer(bundle: Path, signers: Path) -> tuple[str | None, tuple[str, ...]]:
    """The signer, and problems with the signature."""
    try:
        return signer(bundle, signers), ()
    except UserError as error:
        return None, (str(error),)


def _unlocated(kind: str) -> str:
    if kind == "clips":
        return "clips were not checked: set CVBUNDLE_DATA_ROOT to their folder"
    return (
        "weights were not checked: set CVBUNDLE_MODEL_PATH to their folder, or download them if "
        "they are on the hub"
    )
