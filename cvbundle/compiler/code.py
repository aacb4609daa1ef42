"""Collect the source of the trainer and of all that it imports, for a bundle."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

import cvbundle

_ENTRIES = ("cvbundle.training.__main__", "cvbundle.training.launcher")
"""What `launch.sh` starts: one process, or the one that starts several."""


@frozen
class Code:
    """Source files by their path below `code/`, and the third-party packages that they import."""

    files: Mapping[str, bytes]
    packages: frozenset[str]


def training_code() -> Code:
    """Follow the imports of the trainer's entry points, without importing anything."""
    root = Path(cvbundle.__file__).parent.parent
    files: dict[str, bytes] = {}
    packages: set[str] = set()
    waiting = list(_ENTRIES)
    while waiting:
        module = waiting.pop()
        path = _source(root, module)
        if path is None:
            continue
        name = path.relative_to(root).as_posix()
        if name in files:
            continue
        files[name] = path.read_bytes()
        waiting.extend(_parents(module))
        for imported in _imports(files[name]):
            if imported.split(".")[0] == "cvbundle":
                waiting.append(imported)
            elif imported.split(".")[0] not in sys.stdlib_module_names:
                packages.add(imported.split(".")[0])
    return Code(dict(sorted(files.items())), frozenset(packages))


def _source(root: Path, module: str) -> Path | None:
    """A module's file; None for a name inside a module."""
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _imports(source: bytes) -> Iterator[str]:
    """The modules that a file may import, including inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
