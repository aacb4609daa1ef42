"""Verify a bundle: its own files, then the clips and the weights that it references."""

from pathlib import Path

from attrs import frozen

from cvbundle.archive.signatures import signer
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.difference import FileDifference
from cvbundle.bundle.external_files import clip_files, differing_files, located_weights
from cvbundle.bundle.verify import differences
from cvbundle.files.known_digests import known_digests
from cvbundle.problems import UserError

_UNLOCATED = {
    "clips": "clips were not checked: set CVBUNDLE_DATA_ROOT to their folder",
    "weights": "weights were not checked: set CVBUNDLE_MODEL_PATH to their folder, or download "
    "them if they are on the hub",
}


@frozen(kw_only=True)
class Verification:
    """The differences from the compiled bundle; None if not checked."""

    bundle: Bundle
    files: tuple[FileDifference, ...]
    clips: tuple[FileDifference, ...] | None
    weights: tuple[FileDifference, ...] | None
    signature: tuple[str, ...] | None
    """What is wrong with the signature, in a sentence."""
    signer: str | None
    """The allowed signer of the bundle; None if not requested, or not signed by one."""
    unknown: tuple[str, ...]
    """Why something requested could not be checked."""

    @property
    def verified(self) -> bool:
        """Whether nothing that was checked differs."""
        return not (self.files or self.clips or self.weights or self.signature)


def verify_bundle(
    bundle: Bundle, *, clips: bool = True, weights: bool = True, signers: Path | None = None
) -> Verification:
    """Verify a bundle's files, then its clips and weights unless they are left out.

    With a file of `signers`, one of them must have signed the bundle.

    Clips and weights are skipped if the bundle's own files differ, since its digests may be wrong.

    Raises:
        UserError: the folder is not a bundle, or its manifest is of another version.
    """
    files = tuple(differences(bundle))
    checked: dict[str, tuple[FileDifference, ...] | None] = {"clips": None, "weights": None}
    unknown = []
    for kind, requested in (("clips", clips), ("weights", weights)):
        if requested and files:
            unknown.append(f"{kind} were not checked: the bundle itself differs")
        elif requested:
            checked[kind] = _clips(bundle) if kind == "clips" else _weights(bundle)
            if checked[kind] is None:
                unknown.append(_UNLOCATED[kind])
    who, unsigned = _signer(bundle, signers) if signers is not None else (None, None)
    return Verification(
        bundle=bundle,
        files=files,
        clips=checked["clips"],
        weights=checked["weights"],
        signature=unsigned,
        signer=who,
        unknown=tuple(unknown),
    )


def _clips(bundle: Bundle) -> tuple[FileDifference, ...] | None:
    folder = bundle.data_root
    return None if folder is None else tuple(differing_files(folder, clip_files(bundle)))


def _weights(bundle: Bundle) -> tuple[FileDifference, ...] | None:
    located = located_weights(bundle)
    # Cached digests are ignored, but updated.
    with known_digests(rehash=True) as digest_of:
        return None if located is None else tuple(differing_files(*located, digest_of))


def _signer(bundle: Bundle, signers: Path) -> tuple[str | None, tuple[str, ...]]:
    """The signer, and problems with the signature."""
    try:
        return signer(bundle, signers), ()
    except UserError as error:
        return None, (str(error),)
