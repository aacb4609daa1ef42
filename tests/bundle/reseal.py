"""Bundles that were changed and then given matching digests, as an attacker could."""

import hashlib
from pathlib import Path

from cvbundle.bundle.verify import sums_of, sums_text


def resealed(bundle: Path, name: str, old: bytes, new: bytes) -> Path:
    """A bundle with one file changed, its digests made to fit, and its name too."""
    path = bundle / name
    path.chmod(0o644)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    sums = bundle / "SHA256SUMS"
    sums.chmod(0o644)
    before = hashlib.sha256(content).hexdigest()
    after = hashlib.sha256(path.read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(before, after))
    return bundle.rename(bundle.parent / hashlib.sha256(sums.read_bytes()).hexdigest()[:16])


def sealed(bundle: Path) -> Path:
    """A bundle with the digests of whatever is in it."""
    sums = bundle / "SHA256SUMS"
    sums.chmod(0o644)
    sums.write_text(sums_text(sums_of(bundle, {})))
    return bundle.rename(bundle.parent / hashlib.sha256(sums.read_bytes()).hexdigest()[:16])


def plant(bundle: Path, name: str, content: bytes = b"print('executed')\n") -> None:
    """Put a file into a bundle."""
    path = bundle / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in path.relative_to(bundle).parents:
        (bundle / folder).chmod(0o755)
    path.write_bytes(content)
