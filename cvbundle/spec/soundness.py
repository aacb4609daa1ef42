"""Which values of a spec can be trusted while others are wrong."""

from collections.abc import Set

from cvbundle.problems import Path


def is_sound(path: Path, unsound: Set[Path]) -> bool:
    """Whether none of the `unsound` paths is `path`, above it or below it."""
    return is_known(path, unsound) and not any(bad[: len(path)] == path for bad in unsound)


def is_known(path: Path, unsound: Set[Path]) -> bool:
    """Whether neither `path` nor anything it stands in is `unsound`; parts of it may be."""
    return not any(path[:depth] in unsound for depth in range(len(path) + 1))
