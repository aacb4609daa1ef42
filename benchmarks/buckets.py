"""What it costs a step that DDP keeps its buckets, by looking for unused parameters.

`OMP_NUM_THREADS=1 python -m benchmarks.buckets [ROUNDS]` trains an adapter in two processes (gloo)
with two copies of a model: one in DDP as the trainer has it, one in DDP without
`find_unused_parameters`. The copies take turns, step by step. What is measured is the processor's
time of a forward and a backward, of all threads of the first process; what counts is the median of
the ratios. The smallest model is the worst case: what is looked through is its graph, whose nodes
take no longer where tensors are large.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from accelerate import DistributedDataParallelKwargs
from attrs import asdict
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from cvbundle.spec.schema import Lora
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.accelerator import data_parallel
from cvbundle.training.components import quiet
from cvbundle.training.weights import lora_config

_MODEL = "cogvideox-2b"
_WARM_UP = 3


def main(rounds: int) -> None:
    """Print the ratio for the tiny model as it is, and with as many blocks as a 2b has."""
    for layers in (2, 30):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        spawn(_train, (port, layers, rounds), nprocs=2)


def _train(rank: int, port: int, layers: int, rounds: int) -> None:
    quiet()
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo")
    keeps, rebuilds = data_parallel(), data_parallel()
    rebuilds.find_unused_parameters = False
    one, other = _step(keeps, layers), _step(rebuilds, layers)
    pairs = [(one(), other()) for _ in range(_WARM_UP + rounds)][_WARM_UP:]
    if rank == 0:
        kept, rebuilt = (1000 * median(column) for column in zip(*pairs, strict=True))
        ratio = median(first / second for first, second in pairs)
        print(
            f"{layers} blocks: kept {kept:.2f} ms, rebuilt {rebuilt:.2f} ms, ratio {ratio:.4f}",
            flush=True,
        )
    distributed.destroy_process_group()


def _step(how: DistributedDataParallelKwargs, layers: int) -> Callable[[], float]:
    """A step of a copy of the model, which returns the seconds of the processor that it took."""
    from cvbundle.training.models import CogVideoXTransformer3DModel
    from cvbundle.training.tiny import tiny_transformer

    torch.manual_seed(0)
    config = asdict(tiny_transformer(MODELS[_MODEL].architecture.transformer))
    transformer: CogVideoXTransformer3DModel
    transformer = CogVideoXTransformer3DModel(**{**config, "num_layers": layers})
    transformer.requires_grad_(False)
    transformer.add_adapter(lora_config(Lora()))
    transformer.train()
    wrapped = DistributedDataParallel(transformer, **how.to_kwargs())
    states = torch.randn(1, 3, config["in_channels"], 8, 12)
    prompt = torch.randn(1, config["max_text_seq_length"], config["text_embed_dim"])
    timestep = torch.tensor([500])

    def step() -> float:
        distributed.barrier()
        began = time.process_time()
        velocity = wrapped(states, prompt, timestep, return_dict=False)[0]
        velocity.square().mean().backward()
        took = time.process_time() - began
        transformer.zero_grad(set_to_none=True)
        return took

    return step


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["200"])[0]))
