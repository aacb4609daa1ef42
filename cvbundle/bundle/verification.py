"""A whole look at a bundle: its own files, then the clips and the weights that it names."""

from functools import partial
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.outside import clips_folder, named_clips, weights, wrong_files
from cvbundle.bundle.signing import signer
from cvbundle.bundle.verify import differences
from cvbundle.known_digests import digest_of
from cvbundle.problems import UserError


@frozen(kw_only=True)
class Verification:
    """What is not as compiled, a sentence each; None for what was not looked at."""

    bundle: Path
    files: tuple[str, ...]
    clips: tuple[str, ...] | None
    weights: tuple[str, ...] | None
    signature: tuple[str, ...] | None
    signer: str | None
    """Who signed the bundle, of those that may; None where it isn't asked, or nobody did."""
    unknown: tuple[str, ...]
    """Why something that was asked for could not be looked at."""

    @property
    def verified(self) -> bool:
        """Whether nothing that was looked at differs."""
        return not (self.files or self.clips or self.weights or self.signature)


def verify_bundle(
    bundle: Path, *, clips: bool = True, weights: bool = True, signers: Path | None = None
) -> Verification:
    """Look at a bundle's files, then at its clips and weights unless they are left out.

    With a file of `signers`, one of them must have signed the bundle.

    What lies outside is passed over where the bundle's own files differ: what it names may be
    wrong then.
    """
    files = tuple(differences(bundle))
    found: dict[str, tuple[str, ...] | None] = {"clips": None, "weights": None}
    unknown = []
    for kind, wanted in (("clips", clips), ("weights", weights)):
        if wanted and files:
            unknown.append(f"{kind} were not looked at: the bundle itself differs")
        elif wanted:
            found[kind] = _look(bundle, kind)
            if found[kind] is None:
                unknown.append(_where(kind))
    who, unsigned = _signer(bundle, signers) if signers is not None else (None, None)
    return Verification(
        bundle=bundle,
        files=files,
        clips=found["clips"],
        weights=found["weights"],
        signature=unsigned,
        signer=who,
        unknown=tuple(unknown),
    )


def _look(bundle: Path, kind: str) -> tuple[str, ...] | None:
    if kind == "clips":
        folder = clips_folder(bundle)
        return None if folder is None else tuple(wrong_files(folder, named_clips(bundle)))
    found = weights(bundle)
    # Hashed whatever is known of them, and what is found is known from then on.
    hashed = partial(digest_of, rehash=True)
    return None if found is None else tuple(wrong_files(*found, hashed))


def _signer(bundle: Path, signers: Path) -> tuple[str | None, tuple[str, ...]]:
    """Who signed, and what is wrong with the signature."""
    try:
        return signer(bundle, signers), ()
    except UserError as error:
        return None, (str(error),)


def _where(kind: str) -> str:
    if kind == "clips":
        return "clips were not looked at: set CVBUNDLE_DATA_ROOT to where they are"
    return (
        "weights were not looked at: set CVBUNDLE_MODEL_PATH to where they are, or download them "
        "if they are the hub's"
    )
