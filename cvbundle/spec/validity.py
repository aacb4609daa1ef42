"""Tell which values of a spec are valid while others are not."""

from collections.abc import Set

from cvbundle.problems import Path


def is_valid(path: Path, invalid: Set[Path]) -> bool:
    """Whether none of the `invalid` paths is `path`, above it or below it."""
    return is_outside(path, invalid) and not any(bad[: len(path)] == path for bad in invalid)


def is_outside(path: Path, invalid: Set[Path]) -> bool:
    """Whether neither `path` nor any path above it is `invalid`; paths below it may be."""
    return not any(path[:depth] in invalid for depth in range(len(path) + 1))
