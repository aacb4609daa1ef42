"""Several processes: the same bytes at every step of every attempt, however the run was killed."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cvbundle.training.exchange import Introduction, differences
from tests.training.conftest import CompileDemo, result

_STEPS = """
import hashlib, os, socket, sys
from datetime import timedelta
import torch
from accelerate import Accelerator
from torch import distributed, nn
from torch.utils.checkpoint import checkpoint
from cvbundle.training.accelerator import data_parallel

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(256, 256) for _ in range(16))
    def forward(self, x):
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return x

def work(rank, count, port, fd):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                   "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    store = distributed.TCPStore("127.0.0.1", port, count, rank == 0, wait_for_workers=False,
                                 **({"master_listen_fd": fd} if rank == 0 else {}))
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=count)
    accelerator = Accelerator(cpu=True, kwargs_handlers=[data_parallel()])
    torch.manual_seed(0)
    net = accelerator.prepare(Net())
    digests = []
    for _ in range(3):
        net.zero_grad(set_to_none=True)
        torch.manual_seed(rank)
        with accelerator.no_sync(net):
            accelerator.backward(net(torch.randn(4, 256)).square().mean())
        accelerator.backward(net(torch.randn(4, 256)).square().mean())
        content = b"".join(p.grad.numpy().tobytes() for p in net.parameters())
        digests.append(hashlib.sha256(content).hexdigest())
    if rank == 0:
        print(*digests)
    accelerator.end_training()

count = int(sys.argv[1])
server = socket.create_server(("127.0.0.1", 0))
children = []
for rank in range(count):
    child = os.fork()
    if not child:
        work(rank, count, server.getsockname()[1], server.fileno())
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] for child in children))
"""


@pytest.mark.train
def test_gradients_of_three_processes_have_the_same_bits_at_every_step() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STEPS, "3"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.split()
    assert others == [first, first]


_SILENCE = """
import os, socket, sys, time
import torch
from torch import distributed
from cvbundle.training.group import is_of_the_group
from cvbundle.training.processes import Processes, control_group

def work(rank, port, fd):
    store = distributed.TCPStore("127.0.0.1", port, 2, rank == 0, wait_for_workers=False,
                                 **({"master_listen_fd": fd} if rank == 0 else {}))
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    processes = Processes(rank=rank, count=2, local_rank=rank, machines=1,
                          device=torch.device("cpu"), control=control_group(timeout_s=1))
    assert processes.any(rank == 1)
    if rank == 1:
        time.sleep(5)
        os._exit(0)
    began = time.monotonic()
    try:
        processes.any(False)
    except RuntimeError as error:
        print(is_of_the_group(error), time.monotonic() - began < 4)
        os._exit(0)

server = socket.create_server(("127.0.0.1", 0))
if os.fork():
    work(0, server.getsockname()[1], server.fileno())
work(1, server.getsockname()[1], -1)
"""


@pytest.mark.slow
@pytest.mark.train
def test_a_silent_process_is_an_error_of_the_group_after_the_timeout() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SILENCE], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def _launched(bundle: Path, *options: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHON": sys.executable, "CVBUNDLE_DEVICE": "cpu"}
    command = ["bash", str(bundle / "launch.sh"), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _trained(bundle: Path, *options: str) -> None:
    process = _launched(bundle, *options)
    _, said = process.communicate()
    assert process.returncode == 0, said


def _killed(bundle: Path, there: Path, *options: str) -> None:
    """Start the run, and kill all of it somewhere after a file has come."""
    process = _launched(bundle, *options)
    while not there.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(random.Random(there.name).random() * 0.2)
    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
    for each in processes:
        each.kill()
    psutil.wait_procs(processes)
    process.communicate()


@pytest.mark.slow
@pytest.mark.train
def test_a_run_of_four_that_was_killed_ends_with_the_bytes_of_one_that_was_not(
    compile_demo: CompileDemo,
) -> None:
    moments = (4, 8, 12)
    bundle = compile_demo(
        "launch.strategy=ddp",
        "launch.num_processes=4",
        "training.batch_size=1",
        "training.gradient_accumulation_steps=2",
        "training.gradient_checkpointing=true",
        "training.steps=16",
        "checkpointing.steps=4",
        "validation=null",
    )
    _trained(bundle)
    whole, run = bundle / "runs/0001", bundle / "runs/0002"
    choice = ["--fresh"]
    for step in moments:
        _killed(bundle, run / f"checkpoints/step-{step:08}", *choice)
        choice = []
    _trained(bundle)
    attempts = json.loads((run / "run.json").read_bytes())["attempts"]
    assert len(attempts) == len(moments) + 1
    assert result(run) == result(whole)
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.train
def test_accelerate_launch_starts_the_same_run_from_the_bundle(compile_demo: CompileDemo) -> None:
    bundle = compile_demo(
        "launch.strategy=ddp", "launch.num_processes=2", "training.steps=2", "validation=null"
    )
    _trained(bundle)
    launched = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    launched += ["--config_file", str(bundle / "accelerate.yaml"), "--main_process_port", "0"]
    subprocess.run(
        [*launched, "--module", "cvbundle.training", "--bundle", str(bundle), "--fresh"],
        env={
            **os.environ,
            "PYTHONPATH": str(bundle / "code"),
            "PYTHONHASHSEED": "0",
            "ACCELERATE_USE_CPU": "true",
            "CVBUNDLE_NUM_PROCESSES": "2",
        },
        check=True,
    )
    assert result(bundle / "runs/0001") == result(bundle / "runs/0002")


_SAME = Introduction(
    host="cvh1", bundle="ab" * 32, packages={"torch": "2.13.0", "peft": "0.21.2"}, device="H100"
)


def test_processes_that_are_alike_may_train() -> None:
    assert list(differences([_SAME, _SAME])) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"bundle": "cd" * 32},
            "cvh2 has bundle cdcdcdcdcdcdcdcd, and cvh1 has abababababababab: start the same "
            "bundle on every machine",
        ),
        (
            {"packages": {"torch": "2.13.0", "peft": "0.20"}},
            "cvh2 has peft 0.20, and cvh1 has peft 0.21.2: pip install -r requirements.txt on "
            "every machine",
        ),
        ({"device": "A100"}, "cvh2 trains on A100, and cvh1 on H100: use machines of one kind"),
        ({"failure": "/data is no folder"}, "cvh2: /data is no folder"),
    ],
)
def test_a_difference_is_one_sentence_with_the_name_of_the_host(
    change: dict[str, object], sentence: str
) -> None:
    other = Introduction(
        **{"host": "cvh2", "bundle": _SAME.bundle, "packages": _SAME.packages}
        | {"device": _SAME.device}
        | change  # type: ignore[arg-type]
    )
    assert list(differences([_SAME, other])) == [sentence]
