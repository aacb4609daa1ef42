"""`just mutate MODULE...`: which mutants of a module its tests don't notice.

`python -m tests.mutation [MODULE...]` takes paths of modules that `modules.toml` names, or all of
them. Each mutant is imported in a fork of this process, which has the libraries loaded already, and
meets only its module's tests, up to the first that fails. Nothing in the tree is written to, and a
process that a test starts sees the module as it is. A survivor is listed with its line, unless
`equivalent.toml` says why no test can tell it apart. The exit status is 1 where one is left, or
where that file names a mutant that there is no more.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

from tests.mutation.mutants import Mutant, mutants

_HERE = Path(__file__).parent
_WARM = ("numpy", "attrs", "cattrs", "click", "yaml", "rich", "av", "PIL.Image")
_WARM_TRAINING = ("torch", "accelerate", "peft", "diffusers", "transformers")
"""Libraries that the tests import; never the package itself, whose modules are the mutants."""
_SPARE_SECONDS = 20
"""On top of ten times what the tests take without a mutant: a mutant may run for ever."""


# The same examples for each mutant, on a machine that may be busy.
hypothesis.settings.register_profile(
    "mutation",
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """Imports one module from another source than its file's."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Of this module; others are found as ever."""
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)

    def get_filename(self, fullname: str) -> str:
        """Its file's name, for tracebacks."""
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        """The other source; there is no compiled one."""
        if Path(os.fsdecode(path)) != self._path:
            raise OSError(path)
        return self._source.encode()


def _passes(tests: list[str], seconds: float, mutated: _Mutated | None = None) -> bool:
    """Whether tests pass, in a fork; those that take longer than so many seconds don't."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == pytest.ExitCode.OK
    signal.alarm(int(seconds))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if mutated is not None:
        sys.meta_path.insert(0, mutated)
    hypothesis.settings.load_profile("mutation")
    status = 1
    try:
        # The fixtures of earlier forks are where test processes share them (conftest.py).
        os.environ["PYTEST_XDIST_WORKER"] = "gw0"
        base = f"--basetemp={os.environ['TMPDIR']}/mutation/gw0"
        options = ["-x", "-q", "--tb=no", "-p", "no:xdist", base]
        status = int(pytest.main([*options, "-m", "not slow", *tests]))
    finally:
        os._exit(status)


def _examine(path: str, tests: list[str], equivalent: list[dict[str, str]]) -> int:
    """Print a module's survivors and its score; how many things are wrong."""
    source = Path(path).read_text(encoding="utf-8")
    name = path.removesuffix(".py").replace("/", ".")
    began = time.monotonic()
    if not _passes(tests, 3600):
        print(f"{path}: its tests fail without a mutant: {' '.join(tests)}")
        return 1
    # The second time, fixtures are there.
    began = time.monotonic()
    _passes(tests, 3600)
    limit = 10 * (time.monotonic() - began) + _SPARE_SECONDS
    reasons = {(each["before"], each["after"]): each["why"] for each in equivalent}
    total = killed = justified = 0
    met = set()
    for mutant in mutants(source):
        total += 1
        key = mutant.before, mutant.after
        if key in reasons:
            # Not run: a test that kills it makes the entry wrong, but costs as much as all others.
            justified += 1
            met.add(key)
        elif _passes(tests, limit, _Mutated(name, Path(path).resolve(), mutant.source)):
            _show(path, mutant)
        else:
            killed += 1
    left = total - killed - justified
    stale = [before for before, _ in reasons.keys() - met]
    for before in stale:
        print(f"equivalent.toml: {path} has no such mutant: {before}")
    print(f"{path}: {killed} killed and {justified} justified of {total}, {left} left", flush=True)
    return left + len(stale)


def _show(path: str, mutant: Mutant) -> None:
    print(f"{path}:{mutant.line}: {mutant.before!r} -> {mutant.after!r}", flush=True)


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((_HERE / name).read_text(encoding="utf-8"))


def main() -> int:
    """Examine modules; 1 where a mutant survives for no reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", nargs="*")
    options = parser.parse_args()
    tests, equivalent = _table("modules.toml"), _table("equivalent.toml")
    modules = options.module or list(tests)
    for path in modules:
        if path not in tests:
            parser.error(f"{path} has no tests in tests/mutation/modules.toml: add a line for it")
    training = any(path.startswith("cvbundle/training/") for path in modules)
    for library in (*_WARM, *(_WARM_TRAINING if training else ())):
        importlib.import_module(library)
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        (Path(folder) / "mutation").mkdir()
        wrong = [_examine(path, tests[path], equivalent.get(path, [])) for path in modules]
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main())
