"""Virtual environments made of a bundle's `requirements.txt`, for `run --venv`.

There is one in the user's cache folder for each lock, version of Python and platform, which bundles
with the same lock share. It appears complete or not at all. Each time it is used, its packages are
compared with the lock, and with those that were installed when it was made.

A bundle may come from a stranger, so making an environment runs no code of its packages: only
wheels are installed, never source distributions, which are built by their own code.
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
"""Called with a sentence before something that takes long."""

_ENVIRONMENTS = "environments"
_INSTALLED = "installed.json"
"""In an environment: every package and its version, including those that the lock doesn't name."""
_FORMAT = 2
"""The version of their layout: environments of another one are not used."""
_ADVICE = "remove the folder of the environment, and run again"


@frozen
class Venv:
    """The environment of a lock, which may not exist yet."""

    folder: Path
    locked: Mapping[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"

    @property
    def exists(self) -> bool:
        """Whether it has been made."""
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


def existing_venvs(cache: Path) -> list[Venv]:
    """The environments in a cache folder.

    Raises:
        UserError: the `requirements.txt` of one was changed.
    """
    locks = sorted((cache / _ENVIRONMENTS).glob(f"*/{REQUIREMENTS}"))
    return [Venv(path.parent, read_requirements(path.parent)) for path in locks]


def require_venv(venv: Venv, notify: Notify) -> None:
    """Make an environment if it doesn't exist, and verify its packages.

    Raises:
        UserError: a package can't be installed, or the environment was changed since it was made.
    """
    if not venv.exists:
        with _locked(venv, notify):
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
def _locked(venv: Venv, notify: Notify) -> Iterator[None]:
    """Keep other processes from making this environment while the block lasts."""
    venv.folder.parent.mkdir(parents=True, exist_ok=True)
    path = venv.folder.with_suffix(".lock")
    try:
        lock = locks.take(path)
        if lock is None:
            notify(f"waiting for another process to make {venv.folder}")
            lock = locks.take(path, wait=True)
    except OSError:
        # On a disk without locks both make one, and one of them is kept.
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
        # uv searches for settings from the working directory upwards, up to the first file.
        (work / "uv.toml").touch()
        list_file = work / REQUIREMENTS
        list_file.write_text(requirements_text(venv.locked), "ascii")
        # The environment is moved when it is complete.
        _uv(work, "venv", "--relocatable", "--no-project", "--python", sys.executable, str(made))
        settings = index_settings(os.environ)
        _uv(
            work,
            *("pip", "install", "--no-build", "--python", str(made / "bin/python")),
            *("--requirement", str(list_file), *settings.options),
            **settings.environment,
        )
        installed = _packages(made)
        differing = drift(venv.locked, installed)
        if differing:
            raise UserError(f"uv installed other versions: {'; '.join(map(str, differing))}")
        list_file.rename(made / REQUIREMENTS)
        (made / _INSTALLED).write_bytes(json_file(installed))
        settle(made, venv.folder)
    more = len(installed) - len(venv.locked)
    notify(f"installed {len(installed)} packages, {more} of them not in the lock")


def _uv(folder: Path, *arguments: str, **environment: str) -> None:
    """Run uv in a private folder; it dies with this process."""
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
            "fix that, or leave out --venv"
        )


def _reason(output: str) -> str:
    """uv's error on one line, without the progress before it and the tree drawn beside it."""
    lines = output.splitlines()
    marks = ("error:", "×")
    first = next((at for at, line in enumerate(lines) if line.strip().startswith(marks)), 0)
    text = " ".join(line.strip(" ╰─▶│×├") for line in lines[first:])
    return " ".join(text.removeprefix("error: ").split())[:400] or "uv gave no reason"


def _packages(folder: Path) -> dict[str, str]:
    """The packages of an environment, name to version."""
    base = {"base": str(folder), "platbase": str(folder)}
    names = (sysconfig.get_path(name, "venv", base) for name in ("purelib", "platlib"))
    return packages_in(dict.fromkeys(map(Path, names)))
