"""A step never waits for the device: numbers are read only at the steps that report them.

Reading one number makes the processor wait until all that was asked of the device is done, and
then the device waits for the processor. On a CPU nobody would notice, so reads are counted.
"""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cvbundle.training.loop import Trainer
from tests.training.conftest import CompileDemo, CompileModel, Train

_READS = {
    Tensor.item,
    Tensor.tolist,
    Tensor.cpu,
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__index__,
    Tensor.__format__,
    Tensor.__repr__,
}
"""What a program reads a tensor with; not all of it reaches the dispatcher on a CPU."""

_WAITING = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "nonzero_static",
    "unique_consecutive",
    "_unique2",
}
"""Operators whose result, or its size, the processor has to know (torch.cuda.set_sync_debug_mode
says the same on a GPU)."""

Seen = list[tuple[int, bool, list[str]]]
"""Of each step: its number, whether it reported numbers, and where it read some."""


class _Calls(TorchFunctionMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a read where it stands."""
        if func in _READS or (func is Tensor.to and "cpu" in args[1:]):
            self._found.append(_place())
        return func(*args, **(kwargs or {}))


class _Operators(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operator that would wait, wherever it is called from."""
        masks = func is torch.ops.aten.index.Tensor and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if masks or func.overloadpacket.__name__ in _WAITING:
            self._found.append(_place())
        return func(*args, **(kwargs or {}))


def _place() -> str:
    """The innermost line that is neither torch's nor this file's."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "?"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The steps of the trainings in a test."""
    steps = Trainer.steps
    seen: Seen = []

    def watched(trainer: Trainer, batches: Any, stop: Any) -> Iterator[Any]:
        following = steps(trainer, batches, stop)
        while True:
            found: list[str] = []
            with _Calls(found), _Operators(found):
                rows = next(following, None)
            if rows is None:
                return
            seen.append((trainer.step, bool(rows), found))
            yield rows

    monkeypatch.setattr(Trainer, "steps", watched)
    return seen


def _assert_never_waits(seen: Seen) -> None:
    assert [step for step, _, _ in seen] == list(range(1, 8))
    assert [step for step, reported, _ in seen if reported] == [4, 7]
    for step, reported, found in seen:
        # The counting itself is shown to work where numbers are read.
        assert bool(found) == reported, f"step {step} reads {found}"


_STEPS = ("training.steps=7", "checkpointing.steps=4", "validation.steps=8", "data.num_workers=1")


@pytest.mark.train
@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_a_step_reads_nothing_but_what_it_reports(
    optimizer: str,
    compile_demo: CompileDemo,
    train_here: Train,
    reads: Seen,
) -> None:
    # Everything that a step can have to do.
    train_here(
        compile_demo(
            *_STEPS,
            f"optimizer.name={optimizer}",
            "training.batch_size=1",
            "training.gradient_accumulation_steps=2",
            "training.gradient_checkpointing=true",
            "training.ema_decay=0.9",
            "training.snr_gamma=5.0",
            "training.timestep_sampling=logit_normal",
            "data.caption_dropout=0.5",
            "lora.dropout=0.1",
            "lr_scheduler.name=cosine",
        )
    )
    _assert_never_waits(reads)


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "sft"])
def test_neither_does_one_that_encodes_noisy_images(
    kind: str,
    compile_model: CompileModel,
    train_here: Train,
    reads: Seen,
) -> None:
    train_here(compile_model("cogvideox1.5-5b-i2v", kind, *_STEPS, "training.image_dropout=0.5"))
    _assert_never_waits(reads)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.numpy(),
        float,
        int,
        bool,
        lambda x: f"{x}",
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: torch.nn.utils.get_total_norm([x], error_if_nonfinite=True),
    ],
)
def test_any_way_to_read_a_tensor_is_noticed(read: Callable[[Tensor], object]) -> None:
    found: list[str] = []
    with _Calls(found), _Operators(found):
        read(torch.ones(1))
    assert found
