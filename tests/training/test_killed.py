"""A trainer that is killed is said and recorded by those that are left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.run import Run
from cvbundle.comparison.description import describe
from cvbundle.comparison.listing import list_store
from tests.training.conftest import CompileDemo

_LONG = ("training.steps=100000", "checkpointing.steps=5", "validation=null")
_KILLED = "was killed by signal 9 (out of memory?)"


def _killed(bundle: Path, victim: Callable[[psutil.Process], bool], *, after: Path | None) -> str:
    """Run a bundle, kill what `victim` names once a file is there; what was said on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cvbundle.cli", "run", str(bundle), "--fresh"],
        env={**os.environ, "CVBUNDLE_DEVICE": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = False
    while not killed:
        assert process.poll() is None, process.communicate()
        if after is None or after.exists():
            for child in psutil.Process(process.pid).children(recursive=True):
                if victim(child):
                    child.kill()
                    killed = True
        time.sleep(0.01)
    out, said = process.communicate()
    assert (process.returncode, out) == (3, "")
    return said


def _trains(process: psutil.Process) -> bool:
    try:
        return "cvbundle.training" in process.cmdline()
    except psutil.Error:
        return False


def _is_second(process: psutil.Process) -> bool:
    return _trains(process) and process.environ().get("RANK") == "1"


@pytest.mark.train
def test_while_it_starts_it_is_said_and_no_result_of_an_older_run_is_shown(
    compile_demo: CompileDemo,
) -> None:
    bundle = compile_demo(*_LONG)
    older = bundle / "runs/0001"
    (older / "adapter").mkdir(parents=True)
    (older / "adapter/older.safetensors").touch()
    record = {"status": "complete", "result": "adapter"}
    (older / "run.json").write_text(json.dumps(record))
    said = _killed(bundle, _trains, after=None)
    assert said.splitlines()[-1] == f"error: the trainer {_KILLED}: run it again to continue"
    assert Run(older).data == record


@pytest.mark.slow
@pytest.mark.train
def test_while_it_trains_it_is_said_and_recorded_and_shown(compile_demo: CompileDemo) -> None:
    bundle = compile_demo(*_LONG)
    run = bundle / "runs/0001"
    said = _killed(bundle, _trains, after=run / "checkpoints/step-00000005")
    assert said.splitlines()[-1] == f"error: the trainer {_KILLED}: run it again to continue"
    assert (Run(run).status, Run(run).reason) == ("failed", f"the trainer {_KILLED}")
    (listed,) = list_store(bundle.parent)
    assert listed.status == "failed"
    assert [result.reason for result in describe(Bundle(bundle)).runs] == [f"the trainer {_KILLED}"]
    assert "step 5: loss " in (run / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.train
def test_one_process_of_several_is_said_and_recorded_and_the_others_end(
    compile_demo: CompileDemo,
) -> None:
    several = ("launch.strategy=ddp", "launch.num_processes=2", "training.batch_size=1")
    bundle = compile_demo(*_LONG, *several)
    run = bundle / "runs/0001"
    said = _killed(bundle, _is_second, after=run / "checkpoints/step-00000005")
    sentence = said.splitlines()[-1]
    assert sentence.startswith(f"error: process 1 {_KILLED}, on ")
    assert "Traceback" not in said
    assert (Run(run).status, Run(run).reason) == ("failed", sentence[len("error: ") :])
