"""The estimate's parts of a sharded model are what FSDP2 itself gathers."""

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from attrs import asdict, evolve
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, distributed
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cvbundle.model.training_load import TrainingLoad
from cvbundle.model.training_memory import gathered_backward_bytes, gathered_bytes
from cvbundle.spec.tables.models import MODELS
from cvbundle.spec.tables.strategies import STRATEGIES
from cvbundle.training.sharding import shard

PROCESSES = 64
"""So many that a process's own share is negligible; so are activations of five tokens."""
TRANSFORMER = evolve(
    MODELS["cogvideox-5b"].architecture.transformer,
    num_layers=8,
    num_attention_heads=8,
    text_embed_dim=32,
    time_embed_dim=64,
    sample_height=2,
    sample_width=2,
    sample_frames=1,
    max_text_seq_length=4,
)


class Peak(TorchDispatchMode):
    """The most bytes of live storages; FSDP2 frees by resizing one, so each is asked again."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._live: dict[int, Any] = {}
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and follow what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = getattr(leaf, "_local_tensor", leaf).untyped_storage()
                self._live[storage._cdata] = weakref.ref(storage)
        alive = (reference() for reference in self._live.values())
        self.bytes = max(self.bytes, sum(one.nbytes() for one in alive if one is not None))
        return result


@pytest.fixture(scope="module")
def _processes() -> Iterator[None]:
    """A group of many processes, of which only this one exists: nothing is transferred."""
    start: Any = distributed.init_process_group
    start("fake", rank=0, world_size=PROCESSES, store=FakeStore())
    yield
    distributed.destroy_process_group()


def count(strategy: str, *, trained: bool) -> tuple[int, int]:
    """The peak of a forward and of a backward pass, in bytes."""
    model: Any = CogVideoXTransformer3DModel(**asdict(TRANSFORMER))
    model.requires_grad_(trained)
    # So that there is a backward pass through all blocks.
    model.patch_embed.text_proj.bias.requires_grad_(True)
    model.enable_gradient_checkpointing()
    model.train()
    shard(model, STRATEGIES[strategy], dtype=torch.bfloat16, device=torch.device("cpu"))
    latents = torch.randn(1, 1, 16, 2, 2, dtype=torch.bfloat16)
    caption = torch.randn(1, 4, 32, dtype=torch.bfloat16)
    timestep = torch.zeros(1, dtype=torch.long)
    rotary = (torch.randn(1, 64), torch.randn(1, 64))
    with Peak() as peak:
        velocity = model(latents, caption, timestep, image_rotary_emb=rotary, return_dict=False)[0]
        forward, peak.bytes = peak.bytes, 0
        velocity.float().sum().backward()
    return forward, peak.bytes


@pytest.mark.usefixtures("_processes")
@pytest.mark.parametrize("strategy", ["zero2", "zero3"])
@pytest.mark.parametrize("trained", [False, True])
def test_fsdp2_gathers_as_many_blocks_as_the_estimate_says(strategy: str, trained: bool) -> None:
    forward, backward = count(strategy, trained=trained)
    load = TrainingLoad(
        transformer=TRANSFORMER,
        trainable=0,
        adapter=None if trained else 0.0,
        tokens=5,
        batch=1,
        weight_bytes=2,
        strategy=STRATEGIES[strategy],
        processes=PROCESSES,
    )
    block = 2 * load.block
    assert forward == pytest.approx(gathered_bytes(load), abs=0.1 * block)
    # Where a block's gradients are summed, its weights may be freed already.
    slack = 1.1 * block if trained else 0.1 * block
    assert backward == pytest.approx(gathered_backward_bytes(load), abs=slack)
