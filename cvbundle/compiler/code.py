"""Collect the source of the trainer and of all that it imports, for a bundle.

A bundle is named by what decides its result. So what is written for people who write specs is left
out: the words in `about(...)`, and the library that `import cvbundle` offers. Rewording a field's
help, or adding a command, a rule or a function to the library, changes no bundle's name.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

import cvbundle
from cvbundle.compiler.undocumented import without_words

_ENTRIES = ("cvbundle.training.__main__", "cvbundle.training.launcher")
"""What `launch.sh` starts: one process, or the one that starts several."""

_LIBRARY = "cvbundle/__init__.py"


@frozen
class Code:
    """Source files by their path below `code/`, and the third-party packages that they import."""

    files: Mapping[str, bytes]
    packages: frozenset[str]


def training_code(root: Path = Path(cvbundle.__file__).parent.parent) -> Code:
    """Follow the imports of the trainer's entry points, without importing anything.

    `root` is the folder that the package is in.
    """
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
        source = path.read_bytes()
        tree = ast.parse(source)
        files[name] = b"" if name == _LIBRARY else without_words(source, tree)
        waiting.extend(_parents(module))
        for imported in () if name == _LIBRARY else _imports(tree):
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


def _imports(tree: ast.Module) -> Iterator[str]:
    """The modules that a file may import, including inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
