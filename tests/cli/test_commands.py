"""`cvbundle compile`, `verify` and `run` on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cvbundle.compiler.build import Compiled
from tests.bundle.reseal import resealed


def _cvbundle(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_compile_prints_the_bundle_last_and_says_when_it_exists(demo: Path, tmp_path: Path) -> None:
    first = _cvbundle("compile", demo / "spec.yaml", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    bundle = tmp_path / first.stdout.splitlines()[-1]
    assert (bundle / "SHA256SUMS").is_file()
    again = _cvbundle("compile", demo / "spec.yaml", cwd=tmp_path)
    assert again.stdout == first.stdout
    assert "already exists" in again.stderr
    as_json = json.loads(_cvbundle("compile", demo / "spec.yaml", "--json", cwd=tmp_path).stdout)
    assert as_json["bundle"] == first.stdout.splitlines()[-1]
    assert as_json["hash"].startswith(bundle.name)
    assert as_json["created"] is False


def test_problems_go_to_stderr_with_exit_1(demo: Path, tmp_path: Path) -> None:
    wrong = _cvbundle(
        "compile", demo / "spec.yaml", "--set", "data.resolution=8x64x96", cwd=tmp_path
    )
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert "error[frames-vae]" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["compile"], 2),
        (["compile", "nowhere.yaml"], 1),
        (["run", "nowhere"], 1),
        (["run", "abcdef01"], 1),
        (["verify", "."], 1),
        (["archive", "nowhere"], 1),
        (["archive", ".", "--with", "everything"], 2),
        (["unpack", "nowhere"], 1),
        (["diff", "nowhere", "."], 1),
        (["show", "nowhere"], 1),
        (["list", "--where", "nonsense=1"], 1),
        (["reproduce", "nowhere"], 1),
        (["nonsense"], 2),
        (["compile", ""], 2),
        (["compile", "spec.yaml", "--out", ""], 2),
        (["compile", "spec.yaml", "--data-root", " "], 2),
        (["compile", "spec.yaml", "--model-path", ""], 2),
        (["run", ""], 2),
        (["archive", ".", "-o", ""], 2),
        (["unpack", ""], 2),
        (["unpack", "nowhere", "--out", ""], 2),
        (["list", ""], 2),
        (["demo", "x", "--model", "cogvideox-9b"], 2),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], code: int, tmp_path: Path) -> None:
    result = _cvbundle(*arguments, cwd=tmp_path)
    assert result.returncode == code
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_verify_says_which_file_differs(compiled: Compiled) -> None:
    assert _cvbundle("verify", compiled.bundle).returncode == 0
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_bytes(config.read_bytes().replace(b"42", b"43"))
    result = _cvbundle("verify", compiled.bundle, "--json")
    assert result.returncode == 1
    assert json.loads(result.stdout)["differences"] == ["config.json has other bytes"]


def test_a_changed_bundle_is_not_run(compiled: Compiled) -> None:
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_bytes(config.read_bytes().replace(b"42", b"43"))
    result = _cvbundle("run", compiled.bundle)
    assert result.returncode == 1
    assert "config.json has other bytes" in result.stderr
    assert not list((compiled.bundle.folder / "runs").iterdir())


def test_code_from_elsewhere_needs_trust(compiled: Compiled) -> None:
    bundle = resealed(
        compiled.bundle.folder, "launch.sh", b"set -euo pipefail", b"set -euo pipefail #"
    )
    assert _cvbundle("verify", bundle).returncode == 0
    refused = _cvbundle("run", bundle)
    assert refused.returncode == 1
    assert "launch.sh" in refused.stderr
    assert "--trust" in refused.stderr
    assert _cvbundle("run", bundle, "--trust", "--dry-run").returncode == 0


def test_other_package_versions_need_allow_drift(compiled: Compiled) -> None:
    bundle = resealed(compiled.bundle.folder, "requirements.txt", b"torch==", b"torch==1.")
    refused = _cvbundle("run", bundle)
    assert refused.returncode == 1
    assert "torch: " in refused.stderr
    assert "--allow-drift" in refused.stderr
    assert _cvbundle("run", bundle, "--allow-drift", "--dry-run").returncode == 0


def test_a_dry_run_shows_the_command_and_trains_nothing(compiled: Compiled) -> None:
    result = _cvbundle("run", compiled.bundle, "--dry-run", "--num-processes", "2")
    assert result.returncode == 0
    assert "launch.sh" in result.stdout
    assert "CVBUNDLE_NUM_PROCESSES=2" in result.stdout
    assert not list((compiled.bundle.folder / "runs").iterdir())


def test_resume_without_a_run_is_an_error(compiled: Compiled) -> None:
    result = _cvbundle("run", compiled.bundle, "--resume")
    assert result.returncode == 1
    assert "no run to resume" in result.stderr


@pytest.mark.train
def test_run_prints_the_adapter_and_the_samples(compiled: Compiled) -> None:
    prefix = compiled.bundle.name[:8]
    result = _cvbundle("run", prefix, cwd=compiled.bundle.folder.parent.parent)
    assert result.returncode == 0, result.stderr
    adapter, sample = result.stdout.splitlines()
    assert adapter.endswith("runs/0001/adapter/pytorch_lora_weights.safetensors")
    assert sample.endswith("runs/0001/samples/step-00000020-00.mp4")
    assert Path(adapter).is_file()
    assert Path(sample).is_file()
    assert "training 20/20, loss " in result.stderr
    again = _cvbundle("run", compiled.bundle, "--json")
    assert json.loads(again.stdout)["files"] == [adapter, sample]


@pytest.mark.train
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_state_and_exits_130(
    signal_number: signal.Signals, compiled: Compiled, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "cvbundle.cli", "run", str(compiled.bundle)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    run = compiled.bundle.folder / "runs/0001"
    while not (run / "run.json").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal_number)
    _, output = process.communicate()
    assert process.returncode == 130, output
    assert "finishing the step, then saving" in output
    assert json.loads((run / "run.json").read_bytes())["status"] == "stopped"


@pytest.mark.train
def test_the_trainer_dies_with_the_command_that_started_it(compiled: Compiled) -> None:
    command = [sys.executable, "-m", "cvbundle.cli", "run", str(compiled.bundle)]
    process = subprocess.Popen(command)
    record = compiled.bundle.folder / "runs/0001/run.json"
    while not record.exists() and process.poll() is None:
        time.sleep(0.01)
    trainer = json.loads(record.read_bytes())["attempts"][-1]["pid"]
    process.kill()
    process.wait()
    for _ in range(500):
        if not Path(f"/proc/{trainer}").exists() or _is_zombie(trainer):
            return
        time.sleep(0.01)
    os.kill(trainer, signal.SIGKILL)
    pytest.fail("the trainer went on alone")


def _is_zombie(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.train
def test_launch_needs_no_cvbundle_installed(compiled: Compiled, tmp_path: Path) -> None:
    import site
    import venv

    # An environment that sees the installed packages, but not what an editable install adds.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "others.pth").write_text("".join(f"{p}\n" for p in site.getsitepackages()))
    python = tmp_path / "venv/bin/python"
    environment = {**os.environ, "PYTHON": str(python)}
    environment.pop("PYTHONPATH", None)
    # Not just `import cvbundle`: an editable install leaves the templates' folder behind.
    alone = [str(python), "-c", "import cvbundle.problems"]
    missing = subprocess.run(alone, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert b"No module named 'cvbundle" in missing.stderr
    subprocess.run(
        ["bash", compiled.bundle.folder / "launch.sh"], cwd=tmp_path, env=environment, check=True
    )
    assert list(compiled.bundle.folder.glob("runs/0001/adapter/*.safetensors"))
    subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=compiled.bundle, check=True
    )
    assert not list((compiled.bundle.folder / "code").rglob("__pycache__"))
