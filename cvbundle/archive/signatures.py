"""Sign a bundle's `SHA256SUMS` and check signatures with OpenSSH's `ssh-keygen -Y`.

Users sign with their ssh keys; allowed signers are listed in a file in ssh's format (ssh-keygen(1),
ALLOWED SIGNERS), one per line: `name@example.com ssh-ed25519 AAAA…`.
"""

import subprocess
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import SIGNATURE, SUMS
from cvbundle.problems import UserError

"""The path of a bundle's signature: it signs the digest, so the digest can't cover it."""

_NAMESPACE = "cvbundle"
"""Prevents use of a signature for another purpose (ssh-keygen(1), -n)."""


def sign(bundle: Bundle, key: Path) -> bytes:
    """Sign a bundle with a private key, or with a public key whose private key is in the agent.

    Raises:
        UserError: the key or ssh-keygen doesn't exist.
    """
    if not key.is_file():
        raise UserError(f"{key} is not a key: give the path of one, such as ~/.ssh/id_ed25519")
    done = _ssh_keygen(["-Y", "sign", "-q", "-n", _NAMESPACE, "-f", str(key)], bundle)
    if done.returncode:
        raise UserError(f"{key} can't sign: {_reason(done)}")
    return done.stdout


def signer(bundle: Bundle, signers: Path) -> str:
    """The allowed signer who signed a bundle.

    Raises:
        UserError: the bundle isn't signed, or not by an allowed signer, or was changed since.
    """
    signature = bundle.folder / SIGNATURE
    if not signers.is_file():
        raise UserError(f"{signers} is not a file of signers: see ssh-keygen(1), ALLOWED SIGNERS")
    if not signature.is_file():
        raise UserError(f"{bundle.name} is not signed")
    options = ["-f", str(signers), "-s", str(signature)]
    result = _ssh_keygen(["-Y", "find-principals", *options], bundle)
    names = result.stdout.decode("utf-8", "replace").splitlines()
    if result.returncode or not names:
        raise UserError(f"{bundle.name} is not signed by anyone in {signers}")
    for name in names:
        command = ["-Y", "verify", "-n", _NAMESPACE, "-I", name, *options]
        if not _ssh_keygen(command, bundle).returncode:
            return name
    raise UserError(f"{bundle.name} has a signature by {names[0]}, but of another content")


def _ssh_keygen(arguments: list[str], bundle: Bundle) -> subprocess.CompletedProcess[bytes]:
    with (bundle.folder / SUMS).open("rb") as sums:
        try:
            return subprocess.run(
                ["ssh-keygen", *arguments], stdin=sums, capture_output=True, check=False
            )
        except FileNotFoundError:
            raise UserError("ssh-keygen is not installed: it comes with OpenSSH") from None


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"ssh-keygen ended with {done.returncode}"
