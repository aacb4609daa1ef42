"""DDP on the simulated device of each of two processes, which talk by gloo.

With the trainer's settings but for `find_unused_parameters`, for which the reducer asks C++ for
pinned memory: a device written in Python has no allocator of it ("You should register
`PrivateUse1HooksInterface`", NotImplementedError in the first backward, torch 2.13).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
import torch
from torch import distributed, nn
from tests.training.simgpu import installed
from cvbundle.training.device import process_device
from cvbundle.training.accelerator import data_parallel

with installed():
    device = process_device("simgpu")
    rank = int(sys.argv[2])
    distributed.init_process_group(
        "gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2
    )
    torch.manual_seed(rank)
    layer = nn.Linear(3, 2).to(device)
    settings = data_parallel().to_kwargs() | {"find_unused_parameters": False}
    model = nn.parallel.DistributedDataParallel(layer, **settings)
    weight = layer.weight.tolist()
    try:
        model(torch.ones(1, 3))
    except RuntimeError as error:
        assert "on the same device" in str(error), error
    else:
        raise AssertionError("an input of the host was taken")
    model(torch.full((1, 3), float(rank + 1), device=device)).sum().backward()
    print(weight, layer.weight.grad.tolist(), layer.weight.grad.device)
    distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_begin_with_the_same_weights_and_average_their_gradients(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(tmp_path / "meet"), str(rank)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1]
    # Of inputs 1 and 2.
    assert said[0].endswith("[[1.5, 1.5, 1.5], [1.5, 1.5, 1.5]] simgpu:0\n")
