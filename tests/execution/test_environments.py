"""A virtual environment has exactly a lock's packages, or doesn't exist."""

import base64
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.requirements import (
    parse_requirements,
    read_requirements,
    requirements_text,
)
from cvbundle.compiler.build import Compiled
from cvbundle.execution.environments import Venv, require_venv, venv_of
from cvbundle.execution.launch import RunOptions, plan_launch
from cvbundle.problems import UserError
from tests.bundle.reseal import resealed

Wheels = Callable[..., None]

_MAIN = "def main():\n    import sys; print(version, sys.prefix)\n"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheels:
    """Puts tiny wheels into the only index that pip is configured for."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))

    def write(name: str, version: str, needs: str = "") -> None:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += f"Requires-Dist: {needs}\n" if needs else ""
        described = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"version = {version!r}\n{_MAIN}",
            f"{described}/METADATA": metadata,
            f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{described}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
        }
        record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            for path, text in {**files, f"{described}/RECORD": record}.items():
                archive.writestr(path, text)

    return write


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def _made(requirements: str) -> tuple[Venv, list[str]]:
    messages: list[str] = []
    venv = venv_of(parse_requirements(requirements.encode(), "the lock"))
    require_venv(venv, messages.append)
    return venv, messages


def _environments(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache/environments"
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_bundles_with_the_same_lock_share_one_environment(wheel: Wheels, tmp_path: Path) -> None:
    wheel("one", "1.0", needs="two")
    wheel("one", "2.0")
    wheel("two", "3.0")
    venv, messages = _made("one==1.0\n")
    assert messages == [
        f"installing the packages of requirements.txt into {venv.folder}",
        "installed 2 packages, 1 of them not in the lock",
    ]
    code = "import one, two, sys; print(one.version, two.version, sys.prefix)"
    command = [str(venv.python), "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout
    assert output.split() == ["1.0", "3.0", str(venv.folder)]
    # Scripts start the Python of the place that the environment was moved to.
    script = [str(venv.folder / "bin/one")]
    output = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert output.split() == ["1.0", str(venv.folder)]
    assert ".tmp" not in (venv.folder / "bin/one").read_text()
    assert _made("one==1.0\n") == (venv, [])
    other, _ = _made("one==2.0\n")
    assert sorted(_environments(tmp_path)) == sorted([venv.folder.name, other.folder.name])


def test_a_local_build_of_torch_is_preferred_to_the_index(wheel: Wheels) -> None:
    wheel("torch", "1.0")
    wheel("torch", "1.0+cpu")
    wheel("one", "1.0", needs="torch")
    venv, _ = _made("one==1.0\ntorch==1.0\n")
    assert [path.name for path in venv.folder.glob("lib/*/site-packages/torch-*")] == [
        "torch-1.0+cpu.dist-info"
    ]


def test_an_error_of_uv_is_one_sentence(wheel: Wheels, tmp_path: Path) -> None:
    wheel("one", "1.0")
    with pytest.raises(
        UserError, match=r"^the packages .* \(No solution [^\n]*one==9\.0[^\n]*\): fix [^\n]+$"
    ):
        _made("one==9.0\n")
    assert _environments(tmp_path) == []


def test_a_changed_environment_is_not_used(wheel: Wheels) -> None:
    wheel("one", "1.0")
    venv, _ = _made("one==1.0\n")
    (metadata,) = venv.folder.glob("lib/*/site-packages/one-1.0.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    with pytest.raises(UserError, match=r"was changed .*\(one: 1\.1 instead of 1\.0\): remove"):
        _made("one==1.0\n")


def test_a_package_added_to_an_environment_is_detected(wheel: Wheels) -> None:
    wheel("one", "1.0")
    wheel("evil", "1.0")
    venv, _ = _made("one==1.0\n")
    other, _ = _made("evil==1.0\n")
    (come,) = other.folder.glob("lib/*/site-packages/evil-1.0.dist-info")
    (packages,) = venv.folder.glob("lib/*/site-packages")
    shutil.copytree(come, packages / come.name)
    with pytest.raises(UserError, match=r"was changed .*\(evil: 1\.0 instead of nothing\): remove"):
        _made("one==1.0\n")


def test_two_processes_can_make_the_same_environment_at_once(wheel: Wheels, tmp_path: Path) -> None:
    wheel("one", "1.0")
    code = (
        "from cvbundle.execution.environments import require_venv, venv_of\n"
        "require_venv(venv_of({'one': '1.0'}), print)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    messages = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("installing" in each for each in messages) == 1
    assert len(_environments(tmp_path)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_uv_dies_with_the_process_that_started_it(
    number: signal.Signals, wheel: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import signal; from cvbundle.execution.environments import require_venv, venv_of\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "require_venv(venv_of({'one': '1.0'}), print)"
    )
    with socket.create_server(("127.0.0.1", 0)) as index, monkeypatch.context() as changed:
        changed.delenv("PIP_NO_INDEX")
        changed.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}")
        index.settimeout(60)
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        # uv asks, and waits for an answer until it is ended.
        asked, _ = index.accept()
        with asked:
            asked.settimeout(60)
            assert asked.recv(1 << 16)
            process.send_signal(number)
            process.wait()
            assert not asked.recv(1 << 16)
    left = [name for name in _environments(tmp_path) if name.startswith(".")]
    assert len(left) == (number == signal.SIGKILL)
    wheel("one", "1.0")
    venv, _ = _made("one==1.0\n")
    assert _environments(tmp_path) == [venv.folder.name]


def _relocked(bundle: Path, lock: bytes) -> Path:
    return resealed(bundle, "requirements.txt", (bundle / "requirements.txt").read_bytes(), lock)


def test_a_run_with_venv_is_compared_with_that_environment(
    compiled: Compiled, wheel: Wheels, tmp_path: Path
) -> None:
    locked = read_requirements(compiled.bundle.folder)
    for name in locked:
        wheel(name, "0.1")
    lock = requirements_text(dict.fromkeys(locked, "0.1")).encode()
    bundle = _relocked(compiled.bundle.folder, lock)
    with pytest.raises(UserError, match=r"attrs: .* instead of 0\.1.*: --venv runs in"):
        plan_launch(Bundle(bundle))
    planned = plan_launch(Bundle(bundle), RunOptions(venv=True), dry=True)
    assert not Path(planned.environment["PYTHON"]).exists()
    launch = plan_launch(Bundle(bundle), RunOptions(venv=True))
    assert launch.drift == ()
    assert launch.environment["PYTHON"] == planned.environment["PYTHON"]
    assert launch.environment["PYTHONPATH"] == ""
    assert Path(launch.environment["PYTHON"]).is_file()


@pytest.mark.parametrize("venv", [False, True])
def test_a_lock_of_unexpected_packages_needs_trust(
    venv: bool, compiled: Compiled, wheel: Wheels
) -> None:
    lock = (compiled.bundle.folder / "requirements.txt").read_bytes()
    short = b"".join(line for line in lock.splitlines(True) if not line.startswith(b"peft=="))
    bundle = _relocked(compiled.bundle.folder, short)
    with pytest.raises(UserError, match=r"doesn't lock all packages .* \(peft\): .*--trust"):
        plan_launch(Bundle(bundle), RunOptions(venv=venv))
    bundle = _relocked(bundle, b"attrs==0.1\nevil==0.1\n")
    wheel("attrs", "0.1")
    wheel("evil", "0.1")
    with pytest.raises(UserError, match=r"locks packages .* \(evil\): .*--trust"):
        plan_launch(Bundle(bundle), RunOptions(venv=venv))
    assert plan_launch(Bundle(bundle), RunOptions(venv=True, trust=True)).drift == ()


def _source_distribution(folder: Path, name: str, proof: Path) -> Path:
    """A package that is built from source, and writes `proof` when it is."""
    path = folder / f"{name}-1.0.tar.gz"
    code = f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n"
    setup = f"from setuptools import setup; setup(name={name!r}, version='1.0')\n"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in (
            ("setup.py", code + setup),
            ("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"),
        ):
            content = text.encode()
            entry = tarfile.TarInfo(f"{name}-1.0/{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_a_coding_line_in_a_lock_is_refused(
    compiled: Compiled, wheel: Wheels, tmp_path: Path
) -> None:
    """Under UTF-7 `+AAo-` is a line feed: what is a comment in ASCII is a URL that pip builds."""
    proof = tmp_path / "executed"
    evil = _source_distribution(tmp_path, "evil", proof)
    lock = (compiled.bundle.folder / "requirements.txt").read_bytes()
    hidden = f"# -*- coding: utf-7 -*-\n# harmless +AAo-{evil.as_uri()} +AAo-\n".encode()
    bundle = _relocked(compiled.bundle.folder, hidden + lock)
    with pytest.raises(UserError, match="a line that pins no package: '# -"):
        plan_launch(Bundle(bundle), RunOptions(venv=True))
    # What the user trusts is the code; no lock of another form is installed either way.
    with pytest.raises(UserError, match="a line that pins no package: '# -"):
        plan_launch(Bundle(bundle), RunOptions(venv=True, trust=True))
    assert not proof.exists()


def test_a_package_that_would_be_built_from_source_is_refused(
    wheel: Wheels, tmp_path: Path
) -> None:
    proof = tmp_path / "executed"
    _source_distribution(tmp_path / "wheels", "one", proof)
    with pytest.raises(UserError, match=r"can't be installed .* no usable wheels"):
        _made("one==1.0\n")
    assert not proof.exists()


def test_settings_in_the_current_folder_are_ignored(
    wheel: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv reads uv.toml and pyproject.toml of the working directory and of those above it."""
    wheel("one", "1.0")
    stranger = tmp_path / "bundle"
    stranger.mkdir()
    monkeypatch.chdir(stranger)
    monkeypatch.setenv("CVBUNDLE_CACHE", str(stranger / "cache"))
    (stranger / "uv.toml").write_text("nonsense")
    (stranger / "pyproject.toml").write_text("nonsense")
    venv, _ = _made("one==1.0\n")
    assert venv.python.is_file()
