"""In fp16 gradients are scaled up, and a step in which one overflows is left out.

torch's scaler works on a CPU too, and in fp32: what it does to a step can be seen without a GPU.
"""

import pytest
import torch
from torch import Tensor

from tests.training.conftest import CompileDemo
from tests.training.test_kernels import loaded


def _after_two_steps(
    compile_demo: CompileDemo, scaler: torch.amp.GradScaler | None, *, overflows: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[float | None]]:
    """The weights before and after, and the norms of the gradients as `metrics.jsonl` has them."""
    bundle = compile_demo("training.steps=2", "checkpointing.steps=2", "validation=null")
    with loaded(bundle, 2) as (trainer, batches):
        trainer.scaler = scaler
        before = {name: weight.detach().clone() for name, weight in trainer.trained.items()}
        if overflows:
            first = next(iter(trainer.trained.values()))
            first.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))
        rows = [row for rows in trainer.steps(batches) for row in rows]
        after = {name: weight.detach() for name, weight in trainer.trained.items()}
    return before, after, [row["grad_norm"] for row in rows]


@pytest.mark.train
def test_scaling_by_a_power_of_two_changes_no_bit(compile_demo: CompileDemo) -> None:
    _, plain, norms = _after_two_steps(compile_demo, None)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    _, scaled, norms_of_scaled = _after_two_steps(compile_demo, scaler)
    assert norms_of_scaled == norms
    assert all(torch.equal(scaled[name], plain[name]) for name in plain)


@pytest.mark.train
def test_a_step_that_overflows_leaves_the_weights_and_halves_the_scale(
    compile_demo: CompileDemo,
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before, after, norms = _after_two_steps(compile_demo, scaler, overflows=True)
    assert norms == [None, None]
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert scaler.get_scale() == 2.0**8
