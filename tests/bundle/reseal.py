"""Bundles as a stranger could make them: changed, and whole all the same."""

import hashlib
from pathlib import Path


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
