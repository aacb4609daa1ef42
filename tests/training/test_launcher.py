"""What the launcher of several processes does with signals, its own death and exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

_PROCESS = """
import os, signal, sys, threading, time
from pathlib import Path
from cvbundle.bundle.children import die_with_parent

die_with_parent()
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
folder, seconds, code = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
(folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
stop.wait()
time.sleep(seconds)
(folder / f"{os.environ['RANK']}.saved").touch()
time.sleep(1)
sys.exit(code)
"""


def _start(folder: Path, seconds: float, code: int) -> "subprocess.Popen[bytes]":
    """Two processes that save their state so many seconds after a signal."""
    (folder / "process.py").write_text(_PROCESS)
    command = [sys.executable, "-m", "cvbundle.training.launcher", "--multi_gpu"]
    command += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "--main_process_port", "0"]
    command += [str(folder / "process.py"), str(folder), str(seconds), str(code)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen(command, env=environment)
    while not all((folder / f"{rank}.pid").is_file() for rank in (0, 1)):
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.train
def test_a_step_longer_than_half_a_minute_is_finished_and_saved(tmp_path: Path) -> None:
    process = _start(tmp_path, 33, 130)
    process.terminate()
    assert process.wait() == 130
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["0.saved", "1.saved"]


@pytest.mark.train
def test_a_process_that_fails_is_exit_3(tmp_path: Path) -> None:
    process = _start(tmp_path, 0, 3)
    process.terminate()
    assert process.wait() == 3


@pytest.mark.train
def test_a_third_signal_kills(tmp_path: Path) -> None:
    process = _start(tmp_path, 600, 0)
    for _ in range(3):
        process.terminate()
        time.sleep(0.5)
    assert process.wait() == 3


@pytest.mark.train
def test_no_process_outlives_its_launcher(tmp_path: Path) -> None:
    process = _start(tmp_path, 600, 0)
    pids = [int((tmp_path / f"{rank}.pid").read_text()) for rank in (0, 1)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(map(psutil.pid_exists, pids)):
        time.sleep(0.05)
