"""Signatures of a bundle's `SHA256SUMS`, made and checked by OpenSSH's `ssh-keygen -Y`.

The keys are those that people have anyway; who may sign is a file in the format of ssh's
ALLOWED SIGNERS (ssh-keygen(1)), a line each: `name@example.com ssh-ed25519 AAAA…`.
"""

import subprocess
from pathlib import Path

from cvbundle.bundle.layout import SIGNATURE, SUMS
from cvbundle.problems import UserError

"""Where a bundle's signature is: it is about the digest, so the digest can't cover it."""

_NAMESPACE = "cvbundle"
"""Keeps a signature from being taken for one of something else (ssh-keygen(1), -n)."""


def sign(bundle: Path, key: Path) -> bytes:
    """The signature of a bundle by a private key, or by a public one whose agent has the other.

    Raises:
        UserError: there is no such key, or no ssh-keygen.
    """
    if not key.is_file():
        raise UserError(f"{key} is no key: name a file such as ~/.ssh/id_ed25519")
    done = _ssh_keygen(["-Y", "sign", "-q", "-n", _NAMESPACE, "-f", str(key)], bundle)
    if done.returncode:
        raise UserError(f"{key} can't sign: {_reason(done)}")
    return done.stdout


def signer(bundle: Path, signers: Path) -> str:
    """Who signed a bundle, of those that may.

    Raises:
        UserError: nobody did, or somebody else, or what was signed is another bundle.
    """
    signature = bundle / SIGNATURE
    if not signers.is_file():
        raise UserError(f"{signers} is no file of signers: see ssh-keygen(1), ALLOWED SIGNERS")
    if not signature.is_file():
        raise UserError(f"{bundle.name} is not signed")
    options = ["-f", str(signers), "-s", str(signature)]
    found = _ssh_keygen(["-Y", "find-principals", *options], bundle)
    names = found.stdout.decode("utf-8", "replace").splitlines()
    if found.returncode or not names:
        raise UserError(f"{bundle.name} is signed by nobody whom {signers} names")
    for name in names:
        command = ["-Y", "verify", "-n", _NAMESPACE, "-I", name, *options]
        if not _ssh_keygen(command, bundle).returncode:
            return name
    raise UserError(f"{bundle.name} has a signature of {names[0]}, but of something else")


def _ssh_keygen(arguments: list[str], bundle: Path) -> subprocess.CompletedProcess[bytes]:
    with (bundle / SUMS).open("rb") as sums:
        try:
            return subprocess.run(
                ["ssh-keygen", *arguments], stdin=sums, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise UserError("ssh-keygen is not installed: it comes with OpenSSH") from None


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"ssh-keygen ended with {done.returncode}"
