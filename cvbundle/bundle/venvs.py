"""Environments made of a bundle's `requirements.txt`, for runs that don't use our own packages.

One lies in the user's cache folder for each lock, version of Python and platform; bundles of the
same lock share it. It appears whole or not at all, and its packages are compared with the lock each
time that it is used.
"""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from cvbundle import locks
from cvbundle.bundle.children import die_with_parent
from cvbundle.bundle.environment import Drift, drift, locked_versions
from cvbundle.bundle.layout import REQUIREMENTS
from cvbundle.cache_folder import cache_folder
from cvbundle.digest import canonical_json, sha256_bytes
from cvbundle.durable import settle, temporary_folder
from cvbundle.problems import UserError

Say = Callable[[str], None]

_PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.]*")
"""All that a lock's line may be: pip takes addresses, other indexes and commands there, too."""
_ENVIRONMENTS = "environments"
_FIRST = "torch"
"""Installed alone: asked for by another package, pip may take another build of gigabytes."""


@frozen
class Venv:
    """The environment of a lock, which may not be made yet."""

    folder: Path
    requirements: str

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
        return drift(self.requirements, _packages(self.folder))


def venv_of(requirements: str) -> Venv:
    """The environment of a lock on this machine.

    Raises:
        UserError: the lock asks for more than exact versions of packages.
    """
    for line in requirements.splitlines():
        if line.strip() and not line.startswith("#") and not _PIN.fullmatch(line):
            raise UserError(f"requirements.txt has a line that pins no package: {line[:80]!r}")
    python = [sys.implementation.cache_tag, *sys.version_info[:3], sysconfig.get_platform()]
    key = sha256_bytes(canonical_json([requirements, python]))[:16]
    return Venv(cache_folder() / _ENVIRONMENTS / key, requirements)


def made_venvs(cache: Path) -> list[Venv]:
    """The environments in a cache folder."""
    found = sorted((cache / _ENVIRONMENTS).glob(f"*/{REQUIREMENTS}"))
    return [Venv(path.parent, path.read_text("utf-8")) for path in found]


def require_venv(venv: Venv, say: Say) -> None:
    """Make an environment, unless it is there; either way its packages are those of the lock.

    Raises:
        UserError: a package can't be installed, or what is there was changed.
    """
    if not venv.exists:
        with _alone(venv, say):
            if not venv.exists:
                _make(venv, say)
    if not venv.python.exists():
        raise UserError(f"the Python of {venv.folder} is gone: remove that folder, and run again")
    found = venv.drift()
    if found:
        # Not removed from here: another run may be using it.
        raise UserError(
            f"{venv.folder} was changed since it was made ({'; '.join(map(str, found))}): "
            "remove that folder, and run again"
        )


@contextmanager
def _alone(venv: Venv, say: Say) -> Iterator[None]:
    """No other process makes this environment while the block lasts."""
    venv.folder.parent.mkdir(parents=True, exist_ok=True)
    path = venv.folder.with_suffix(".lock")
    try:
        lock = locks.take(path)
        if lock is None:
            say(f"waiting for another process that makes {venv.folder}")
            lock = locks.take(path, wait=True)
    except OSError:
        # A disk without locks: both make one, and one of them is kept.
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _make(venv: Venv, say: Say) -> None:
    locked = locked_versions(venv.requirements)
    say(f"installing the packages of requirements.txt into {venv.folder}")
    with temporary_folder(venv.folder.parent, "making") as made:
        _checked([sys.executable, "-m", "venv", "--without-pip", str(made)])
        if _FIRST in locked:
            _install(made, [f"{_FIRST}=={locked[_FIRST]}"])
        list_file = made / REQUIREMENTS
        list_file.write_text(venv.requirements, "utf-8")
        _install(made, ["--requirement", str(list_file)])
        found = drift(venv.requirements, _packages(made))
        if found:
            raise UserError(f"pip installed something else: {'; '.join(map(str, found))}")
        _call(made, venv.folder)
        settle(made, venv.folder)


def _install(folder: Path, what: list[str]) -> None:
    """Have our own pip install into an environment, which needs none itself.

    Not `pip --python`, which starts another pip that nobody ends when this process is ended.
    """
    pip = find_spec("pip")
    if pip is None or pip.origin is None:
        raise UserError("pip is not installed here: python -m ensurepip, or leave out --venv")
    # A folder with pip and nothing else of ours: what pip sees on its path, it takes for installed.
    alone = folder.with_name("pip")
    alone.mkdir(exist_ok=True)
    if not (alone / "pip").exists():
        (alone / "pip").symlink_to(Path(pip.origin).parent)
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    python = str(folder / "bin/python")
    _checked([python, "-m", "pip", "install", *quiet, *what], PYTHONPATH=str(alone))


def _checked(command: list[str], **environment: str) -> None:
    result = subprocess.run(
        command,
        # What is on our own path is not in the environment.
        env=_without(os.environ, "PYTHONPATH", "PYTHONHOME") | environment,
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


def _without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


def _reason(output: str) -> str:
    """The last error that pip names, or else the last that was said."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["nothing was said"])[-1]


def _call(made: Path, final: Path) -> None:
    """Have scripts and settings name the folder that they are going to be in."""
    for path in (made / "pyvenv.cfg", *(made / "bin").iterdir()):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            path.write_bytes(content.replace(os.fsencode(made), os.fsencode(final)))


def _packages(folder: Path) -> tuple[Path, ...]:
    """The folders that an environment's packages are in."""
    base = {"base": str(folder), "platbase": str(folder)}
    names = (sysconfig.get_path(name, "venv", base) for name in ("purelib", "platlib"))
    return tuple(dict.fromkeys(map(Path, names)))
