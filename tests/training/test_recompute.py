"""What is computed again in the backward pass changes what it costs, and no bit of the result."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cvbundle.spec.schema import TrainingType
from cvbundle.training.recompute import kept_operators
from tests.training.conftest import CompileModel, Train, result
from tests.training.test_kernels import loaded


class Computed(TorchDispatchMode):
    """Counts the operators that are computed, and not taken from what was kept."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[Any] = Counter()

    def __torch_dispatch__(
        self, operator: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        self.count[operator] += 1
        return operator(*arguments, **(named or {}))


_QUICK = ("training.steps=2", "checkpointing.steps=2", "validation=null")


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind", "settings"),
    [
        ("cogvideox-5b", "lora", ("training.mixed_precision=bf16", "lora.dropout=0.2")),
        ("cogvideox-2b", "sft", ("training.mixed_precision=no",)),
        ("cogvideox1.5-5b-i2v", "sft", ("training.mixed_precision=bf16", "launch.strategy=zero3")),
    ],
)
def test_what_is_kept_changes_no_bit(
    model: str,
    kind: TrainingType,
    settings: tuple[str, ...],
    compile_model: CompileModel,
    train_here: Train,
) -> None:
    results = [
        result(
            train_here(
                compile_model(
                    model, kind, *_QUICK, *settings, f"training.gradient_checkpointing={how}"
                )
            )
        )
        for how in ("true", "selective")
    ]
    # The card names the bundle.
    for files in results:
        files.pop("adapter/README.md", None)
        files.pop("transformer/README.md", None)
    assert results[0] == results[1]


@pytest.mark.train
@pytest.mark.parametrize(("how", "forwards"), [("false", 1), ("true", 2), ("selective", 1)])
def test_attention_is_computed_once_where_its_output_is_kept(
    how: str, forwards: int, compile_model: CompileModel
) -> None:
    setting = f"training.gradient_checkpointing={how}"
    bundle = compile_model("cogvideox-5b", "lora", *_QUICK, setting)
    with loaded(bundle, 1) as (trainer, batches), Computed() as computed:
        next(trainer.steps(batches))
    blocks = 2
    assert sum(computed.count[operator] for operator in kept_operators()) == blocks * forwards
    # The feed-forward of each block, of which nothing is kept.
    assert computed.count[torch.ops.aten.gelu.default] == blocks * (1 if how == "false" else 2)


def test_every_fused_attention_of_torch_is_kept() -> None:
    kept = {operator.name() for operator in kept_operators()}
    fused = {
        name
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::_scaled_dot_product_") and "backward" not in name
    }
    # Composed of operators that are each computed again; of nested and quantised tensors only.
    left = ("math", ".quantized", "fused_attention_overrideable_quant")
    assert {name for name in fused if not any(part in name for part in left)} == kept
