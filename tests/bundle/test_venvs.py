"""An environment of a bundle's own packages: whole or not there, and what the lock says."""

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cvbundle.bundle.build import Compiled
from cvbundle.bundle.launch import plan_launch
from cvbundle.bundle.venvs import Venv, require_venv, venv_of
from cvbundle.problems import UserError
from tests.bundle.reseal import resealed

Wheels = Callable[..., None]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheels:
    """Puts tiny wheels where pip looks, and nothing else is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))

    def write(name: str, version: str, needs: str = "") -> None:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += f"Requires-Dist: {needs}\n" if needs else ""
        described = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"version = {version!r}\n",
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
    said: list[str] = []
    venv = venv_of(requirements)
    require_venv(venv, said.append)
    return venv, said


def _environments(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache/environments"
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_bundles_of_one_lock_share_one_environment(wheel: Wheels, tmp_path: Path) -> None:
    wheel("one", "1.0", needs="two")
    wheel("one", "2.0")
    wheel("two", "3.0")
    venv, said = _made("# a lock\none==1.0\n")
    assert said == [f"installing the packages of requirements.txt into {venv.folder}"]
    code = "import one, two, sys; print(one.version, two.version, sys.prefix)"
    command = [str(venv.python), "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout
    assert told.split() == ["1.0", "3.0", str(venv.folder)]
    # Scripts start the Python of the place that the environment was moved to.
    script = (venv.folder / "bin/one").read_text()
    assert str(venv.python) in script
    assert ".tmp" not in script
    assert _made("# a lock\none==1.0\n") == (venv, [])
    other, _ = _made("# a lock\none==2.0\n")
    assert sorted(_environments(tmp_path)) == sorted([venv.folder.name, other.folder.name])


def test_torch_comes_first_and_alone(
    wheel: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel("torch", "1.0+cpu")
    wheel("one", "1.0", needs="torch")
    log = tmp_path / "pip.log"
    monkeypatch.setenv("PIP_LOG", str(log))
    _made("one==1.0\ntorch==1.0\n")
    installed = [line for line in log.read_text().splitlines() if "Successfully installed" in line]
    assert ["torch" in installed[0], "one" in installed[0]] == [True, False]
    assert ["torch" in installed[1], "one" in installed[1]] == [False, True]


def test_what_pip_refuses_is_one_sentence_and_leaves_nothing(wheel: Wheels, tmp_path: Path) -> None:
    wheel("one", "1.0")
    with pytest.raises(
        UserError, match=r"^the packages .* \(No matching .* one==9.0\): mend [^\n]+$"
    ):
        _made("one==9.0\n")
    assert _environments(tmp_path) == []


def test_an_environment_that_was_changed_is_not_used(wheel: Wheels) -> None:
    wheel("one", "1.0")
    venv, _ = _made("one==1.0\n")
    (metadata,) = venv.folder.glob("lib/*/site-packages/one-1.0.dist-info/METADATA")
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    with pytest.raises(UserError, match=r"was changed .*\(one: 1\.1 instead of 1\.0\): remove"):
        _made("one==1.0\n")


@pytest.mark.parametrize(
    "line",
    [
        "one",
        "one>=1.0",
        "one==1.*",
        "one @ file:///x",
        "one==1.0 --global-option=x",
        "--index-url https://evil.example",
        "-r /etc/passwd",
        "./evil",
    ],
)
def test_a_lock_of_more_than_versions_is_not_given_to_pip(line: str) -> None:
    with pytest.raises(UserError, match="a line that pins no package"):
        venv_of(f"two==2.0\n{line}\n")


def test_two_that_want_the_same_environment_at_once_both_get_it(
    wheel: Wheels, tmp_path: Path
) -> None:
    wheel("one", "1.0")
    code = (
        "from cvbundle.bundle.venvs import require_venv, venv_of\n"
        "require_venv(venv_of('one==1.0\\n'), print)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("installing" in each for each in said) == 1
    assert len(_environments(tmp_path)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_is_ended_while_pip_installs_leaves_no_pip_behind(
    number: signal.Signals, wheel: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import signal; from cvbundle.bundle.venvs import require_venv, venv_of\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "require_venv(venv_of('one==1.0\\n'), print)"
    )
    with socket.create_server(("127.0.0.1", 0)) as index, monkeypatch.context() as changed:
        changed.delenv("PIP_NO_INDEX")
        changed.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}")
        index.settimeout(60)
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        # pip asks, and waits for an answer until it is ended.
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


def test_a_run_in_its_own_environment_drifts_from_that_and_not_from_ours(
    compiled: Compiled, wheel: Wheels, tmp_path: Path
) -> None:
    lock = (compiled.bundle / "requirements.txt").read_bytes()
    bundle = resealed(compiled.bundle, "requirements.txt", lock, b"attrs==0.1\n")
    wheel("attrs", "0.1")
    with pytest.raises(UserError, match=r"attrs: .* instead of 0\.1: --venv runs in"):
        plan_launch(bundle)
    planned = plan_launch(bundle, venv=True, dry=True)
    assert not Path(planned.environment["PYTHON"]).exists()
    launch = plan_launch(bundle, venv=True)
    assert launch.drift == ()
    assert launch.environment["PYTHON"] == planned.environment["PYTHON"]
    assert launch.environment["PYTHONPATH"] == ""
    assert Path(launch.environment["PYTHON"]).is_file()


def test_a_package_that_training_does_not_need_is_not_installed_without_trust(
    compiled: Compiled, wheel: Wheels
) -> None:
    lock = (compiled.bundle / "requirements.txt").read_bytes()
    bundle = resealed(compiled.bundle, "requirements.txt", lock, b"evil==0.1\n")
    wheel("evil", "0.1")
    with pytest.raises(UserError, match=r"locks packages .* \(evil\): .*--trust"):
        plan_launch(bundle, venv=True)
    assert plan_launch(bundle, venv=True, trust=True).drift == ()
