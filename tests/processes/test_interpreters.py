"""No Python that we start imports what lies in the current folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cvbundle
from cvbundle.compiler.build import Compiled, compile_file

_PLANTED = (
    *("accelerate", "attr", "av", "click", "cvbundle", "diffusers", "encodings", "json"),
    *("multiprocessing", "numpy", "pip", "random", "signal", "sitecustomize", "socket", "torch"),
    *("transformers", "usercustomize", "uv", "venv", "yaml"),
)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, whose modules write `executed` when they are imported."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    code = (
        "import os\n"
        f"with open({str(tmp_path / 'executed')!r}, 'a') as proof:\n"
        "    proof.write(f'{__file__} by {os.getppid()}\\n')\n"
        "raise SystemExit('a module of the current folder was imported')\n"
    )
    for name in _PLANTED:
        (folder / f"{name}.py").write_text(code)
        (folder / name).mkdir()
        for inner in ("__init__.py", "__main__.py"):
            (folder / name / inner).write_text(code)
    (folder / "pyvenv.cfg").write_text("home = /nowhere\n")
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    return folder


def _executed(folder: Path) -> str:
    proof = folder.parent / "executed"
    return proof.read_text() if proof.exists() else ""


def _cvbundle(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as it is installed: a script, before whose folder Python looks nowhere."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("cvbundle")), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def _script(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = folder.parent / "elsewhere/script.py"
    path.parent.mkdir()
    path.write_text(code)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)


def test_a_module_of_ours_is_run_with_nothing_of_the_current_folder(planted: Path) -> None:
    done = _script(
        planted,
        "import subprocess\n"
        "from cvbundle.processes.interpreters import module_command, safe_environment\n"
        "command = module_command('cvbundle.cli', '--version')\n"
        "raise SystemExit(subprocess.run(command, env=safe_environment()).returncode)\n",
    )
    assert "cvbundle, version" in done.stdout, done.stderr
    assert not _executed(planted)


def test_clips_are_opened_by_nothing_of_the_current_folder(planted: Path) -> None:
    """And a script that opens them needs no `if __name__ == "__main__"`."""
    done = _script(
        planted,
        "from cvbundle.files.identity import identity_of\n"
        "from cvbundle.dataset.probe import PROBE_VERSION, Depth\n"
        "from cvbundle.dataset.probing import File, ProbeTask\n"
        "from cvbundle.dataset.workers import workers\n"
        "import os\n"
        "task = ProbeTask((File(__file__),), (identity_of(os.stat(__file__)),), Depth.NEEDED, "
        "PROBE_VERSION)\n"
        "with workers(1) as pool:\n"
        "    print(*pool.submit(None, task).result())\n",
    )
    assert done.stdout.startswith("is not a video file"), done.stderr
    assert not _executed(planted)


def test_every_process_of_python_is_started_by_one_module() -> None:
    """Another way to start one would look into the current folder again."""
    root = Path(cvbundle.__file__).parent
    starts = re.compile(r"sys\.executable|get_context\(|\bmultiprocessing\.(Process|Pool)\b")
    found = {
        (path.relative_to(root).as_posix(), match.group())
        for path in root.rglob("*.py")
        for match in starts.finditer(path.read_text("utf-8"))
    }
    assert found == {
        ("processes/interpreters.py", "sys.executable"),
        ("execution/launch.py", "sys.executable"),  # what launch.sh starts, with PYTHONSAFEPATH
        ("training/launcher.py", "sys.executable"),  # with -P
        ("execution/environments.py", "sys.executable"),  # which uv asks with -I
        ("execution/index_settings.py", "sys.executable"),  # with -I
    }


@pytest.mark.parametrize(
    "command",
    [
        ["verify", "BUNDLE"],
        ["show", "BUNDLE"],
        ["check", "--data", "BUNDLE/config.json"],
        ["run", "--dry-run", "BUNDLE"],
        ["run", "--dry-run", "--venv", "BUNDLE"],
        ["archive", "BUNDLE", "-o", "../it.tar.zst"],
    ],
    ids=" ".join,
)
def test_commands_in_a_strangers_folder_execute_nothing_of_it(
    command: list[str], compiled: Compiled, planted: Path
) -> None:
    done = _cvbundle(*(part.replace("BUNDLE", str(compiled.bundle)) for part in command))
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1), done.stderr
    assert not _executed(planted)


def test_an_environment_is_made_with_nothing_of_the_current_folder(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("CVBUNDLE_CACHE", str(planted.parent / "cache"))
    done = _script(
        planted,
        "from cvbundle.execution.environments import require_venv, venv_of\n"
        "require_venv(venv_of({}), print)\n",
    )
    assert done.returncode == 0, done.stderr
    assert "installed 0 packages" in done.stdout
    assert not _executed(planted)


@pytest.mark.slow
def test_a_run_in_a_strangers_folder_imports_nothing_of_it(demo: Path, planted: Path) -> None:
    """Neither the launcher, nor the processes that it starts, nor a sample that is made after."""
    two = ["launch.strategy=ddp", "launch.num_processes=2", "training.batch_size=1"]
    short = ["training.steps=2", "checkpointing.steps=2", "validation.steps=2"]
    short += ["validation.num_inference_steps=1", "lr_scheduler.warmup_steps=0"]
    compiled = compile_file(demo / "spec.yaml", planted.parent / "bundles", settings=two + short)
    bundle = str(compiled.only.bundle)
    done = _cvbundle("run", bundle)
    assert done.returncode == 0, done.stderr
    assert not _executed(planted)
    output = planted.parent / "out.mp4"
    done = _cvbundle(
        *("sample", bundle, "--prompt", "a square", "--output", str(output), "--steps", "1")
    )
    assert done.returncode == 0, done.stderr
    assert output.is_file()
    assert not _executed(planted)
