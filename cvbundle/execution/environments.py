"""Environments made of a bundle's `requirements.txt`, for runs that don't use our own packages.

One lies in the user's cache folder for each lock, version of Python and platform; bundles of the
same lock share it. It appears whole or not at all, and its packages are compared with the lock, and
with what was installed when it was made, each time that it is used.

A bundle may come from a stranger: to make an environment runs no code of the packages. Only wheels
are installed, never a source distribution, which is built by its own code.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.difference import changes
from cvbundle.bundle.layout import REQUIREMENTS
from cvbundle.bundle.packages import Drift, drift, packages_in
from cvbundle.bundle.requirements import read_requirements, requirements_text
from cvbundle.execution.index_settings import index_settings
from cvbundle.files import locks
from cvbundle.files.cache_folder import cache_folder
from cvbundle.files.digest import canonical_json, json_file, sha256_bytes
from cvbundle.files.durable import settle, temporary_folder
from cvbundle.files.json_objects import read_object, unreadable
from cvbundle.problems import UserError
from cvbundle.processes.children import die_with_parent

Notify = Callable[[str], None]
"""Shows a sentence to whoever waits."""

_ENVIRONMENTS = "environments"
_INSTALLED = "installed.json"
"""In an environment: every package and its version, those that the lock doesn't name too."""
_FORMAT = 2
"""Of an environment; others are made again."""
_ADVICE = "remove the folder of the environment, and run again"


@frozen
class Venv:
    """The environment of a lock, which may not be made yet."""

    folder: Path
    locked: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"

    @property
    def exists(self) -> bool:
        """Whether it is made."""
        return self.folder.is_dir()

    def drift(self) -> tuple[Drift, ...]:
        """Where its packages differ from the lock."""
        return drift(self.locked, _packages(self.folder))

    def changes(self) -> tuple[Drift, ...]:
        """Where its packages differ from those that it was made with, beyond the lock's.

        Raises:
            DamagedFile: the list of those is missing or damaged.
        """
        try:
            before = read_object(self.folder / _INSTALLED, _ADVICE)
        except FileNotFoundError as error:
            raise unreadable(self.folder / _INSTALLED, error, _ADVICE) from None
        installed = changes(before, _packages(self.folder))
        return tuple(Drift(each.name, each.before, each.after) for each in installed)


def venv_of(locked: Mapping[str, str]) -> Venv:
    """The environment of a lock, distribution to version, on this machine."""
    python = [sys.implementation.cache_tag, *sys.version_info[:3], sysconfig.get_platform()]
    key = sha256_bytes(canonical_json([_FORMAT, requirements_text(locked), python]))[:16]
    return Venv(cache_folder() / _ENVIRONMENTS / key, locked)


def made_venvs(cache: Path) -> list[Venv]:
    """The environments in a cache folder."""
    found = sorted((cache / _ENVIRONMENTS).glob(f"*/{REQUIREMENTS}"))
    return [Venv(path.parent, read_requirements(path.parent)) for path in found]


def require_venv(venv: Venv, notify: Notify) -> None:
    """Make an environment, unless it is there; either way its packages are those of the lock.

    Raises:
        UserError: a package can't be installed, or what is there was changed.
    """
    if not venv.exists:
        with _alone(venv, notify):
            if not venv.exists:
                _make(venv, notify)
    if not venv.python.exists():
        raise UserError(f"{venv.python} is missing: {_ADVICE}")
    differing = dict.fromkeys(map(str, (*venv.drift(), *venv.changes())))
    if differing:
        # Not removed here: another run may be using it.
        raise UserError(
            f"{venv.folder} was changed since it was made ({'; '.join(differing)}): {_ADVICE}"
        )


@contextmanager
def _alone(venv: Venv, notify: Notify) -> Iterator[None]:
    """No other process makes this environment while the block lasts."""
    venv.folder.parent.mkdir(parents=True, exist_ok=True)
    path = venv.folder.with_suffix(".lock")
    try:
        lock = locks.take(path)
        if lock is None:
            notify(f"waiting for another process that makes {venv.folder}")
            lock = locks.take(path, wait=True)
    except OSError:
        # A disk without locks: both make one, and one of them is kept.
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _make(venv: Venv, notify: Notify) -> None:
    notify(f"installing the packages of requirements.txt into {venv.folder}")
    with temporary_folder(venv.folder.parent, "making") as work:
        made = work / venv.folder.name
        # uv looks for settings in the working directory and above it, as far as the first file.
        (work / "uv.toml").touch()
        list_file = work / REQUIREMENTS
        list_file.write_text(requirements_text(venv.locked), "ascii")
        # What is made here is moved, scripts and all.
        _uv(work, "venv", "--relocatable", "--no-project", "--python", sys.executable, str(made))
        settings = index_settings(os.environ)
        _uv(
            work,
            *("pip", "install", "--no-build", "--python", str(made / "bin/python")),
            *("--requirement", str(list_file), *settings.options),
            **settings.environment,
        )
        installed = _packages(made)
        found = drift(venv.locked, installed)
        if found:
            raise UserError(f"uv installed something else: {'; '.join(map(str, found))}")
        list_file.rename(made / REQUIREMENTS)
        (made / _INSTALLED).write_bytes(json_file(installed))
        settle(made, venv.folder)
    more = len(installed) - len(venv.locked)
    notify(f"installed {len(installed)} packages, {more} of which the lock does not name")


def _uv(folder: Path, *arguments: str, **environment: str) -> None:
    """Run uv in a folder of our own; it dies with this process."""
    from uv import find_uv_bin

    result = subprocess.run(
        [find_uv_bin(), *arguments, "--no-progress", "--color", "never"],
        cwd=folder,
        env=os.environ | environment | {"UV_PYTHON_DOWNLOADS": "never"},
        preexec_fn=die_with_parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode:
        raise UserError(
            f"the packages of requirements.txt can't be installed ({_reason(result.stdout)}): "
            "mend that, or leave out --venv"
        )


def _reason(output: str) -> str:
    """What uv says went wrong, on one line; it begins with a cross, or the word."""
    lines = output.splitlines()
    marks = ("error:", "×")
    first = next((at for at, line in enumerate(lines) if line.strip().startswith(marks)), 0)
    said = " ".join(line.strip(" ╰─▶│×├") for line in lines[first:])
    return " ".join(said.removeprefix("error: ").split())[:400] or "nothing was said"


def _packages(folder: Path) -> dict[str, str]:
    """The packages of an environment, name to version."""
    base = {"base": str(folder), "platbase": str(folder)}
    names = (sysconfig.get_path(name, "venv", base) for name in ("purelib", "platlib"))
    return packages_in(dict.fromkeys(map(Path, names)))
