"""What the launcher of several processes does with signals, its own death and exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

_LAUNCHER = """
import sys
from cvbundle.training import launcher

launcher.COMMAND = (sys.executable, sys.argv.pop(1), sys.argv.pop(1))
sys.exit(launcher.main())
"""
_PROCESS = """
import os, signal, sys, threading, time
from pathlib import Path
from cvbundle.processes.children import die_with_parent

die_with_parent()
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
folder = Path(__file__).parent
(folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
stop.wait()
seconds, code = sys.argv[1].split(":")
time.sleep(float(seconds))
(folder / f"{os.environ['RANK']}.saved").touch()
time.sleep(float(os.environ["RANK"]))
sys.exit(int(code))
"""


def _start(folder: Path, does: str) -> "subprocess.Popen[str]":
    """Two processes that save their state after a signal and end: `seconds:exit code`."""
    (folder / "SHA256SUMS").touch()
    (folder / "process.py").write_text(_PROCESS)
    command = [sys.executable, "-c", _LAUNCHER, str(folder / "process.py"), does]
    process = subprocess.Popen(
        [*command, "--bundle", str(folder)],
        env={**os.environ, "CVBUNDLE_NUM_PROCESSES": "2"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not all(_pid(folder, rank) for rank in (0, 1)):
        assert process.poll() is None
        time.sleep(0.05)
    return process


def _pid(folder: Path, rank: int) -> int:
    """Of a process; 0 while it has not come."""
    file = folder / f"{rank}.pid"
    return int(file.read_text() or "0") if file.is_file() else 0


def test_both_processes_save_after_a_signal_however_far_apart_they_end(tmp_path: Path) -> None:
    process = _start(tmp_path, "1:130")
    process.terminate()
    assert process.wait() == 130
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["0.saved", "1.saved"]


@pytest.mark.slow
def test_a_step_longer_than_half_a_minute_is_finished_and_saved(tmp_path: Path) -> None:
    process = _start(tmp_path, "33:130")
    process.terminate()
    assert process.wait() == 130
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["0.saved", "1.saved"]


def test_a_process_that_fails_is_exit_3(tmp_path: Path) -> None:
    process = _start(tmp_path, "0:3")
    process.terminate()
    assert process.wait() == 3


def test_a_process_that_fails_has_the_others_end(tmp_path: Path) -> None:
    process = _start(tmp_path, "600:0")
    psutil.Process(_pid(tmp_path, 1)).kill()
    _, said = process.communicate()
    assert process.returncode == 3
    assert said.startswith("error: process 1 was killed by signal 9 (out of memory?), on ")
    assert not psutil.pid_exists(_pid(tmp_path, 0))


def test_a_third_signal_kills(tmp_path: Path) -> None:
    process = _start(tmp_path, "600:0")
    for _ in range(3):
        process.terminate()
        time.sleep(0.5)
    assert process.wait() == 130


def test_no_process_outlives_its_launcher(tmp_path: Path) -> None:
    process = _start(tmp_path, "600:0")
    pids = [_pid(tmp_path, rank) for rank in (0, 1)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(map(psutil.pid_exists, pids)):
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CVBUNDLE_NUM_PROCESSES": "3"}, "3 processes can't be split evenly over 2 machines"),
        (
            {"CVBUNDLE_NUM_PROCESSES": "many"},
            "CVBUNDLE_NUM_PROCESSES is many: it has to be a whole",
        ),
        ({}, "2 machines train this, but MACHINE_RANK is not set"),
        ({"MACHINE_RANK": "1"}, "2 machines train this, but MAIN_PROCESS_IP is not set"),
        (
            {"MACHINE_RANK": "2", "MAIN_PROCESS_IP": "127.0.0.1"},
            "MACHINE_RANK is 2, but 2 machines count from 0 to 1",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(
    settings: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "SHA256SUMS").touch()
    several = {"CVBUNDLE_NUM_PROCESSES": "2", "CVBUNDLE_NUM_MACHINES": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "cvbundle.training.launcher", "--bundle", str(tmp_path)],
        env={**os.environ, **several, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
