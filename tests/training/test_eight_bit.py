"""bitsandbytes' AdamW: its state is one that a checkpoint can hold, and it runs here or says why.

bitsandbytes itself, with its binaries for every CUDA, is larger than all that the tests need
besides; what stands in for it does as version 0.50.2 does.
"""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from cvbundle.problems import UserError
from cvbundle.spec.converter import structure_sound
from cvbundle.spec.schema import Spec
from cvbundle.training.optimizers import make_optimizer

CPU = torch.device("cpu")
_WRAPPED = "__bnb_optimizer_quant_state__"
_TABLE = torch.linspace(-1, 1, 256)


class _AdamW8bit(torch.optim.Optimizer):
    """State in bytes with one table for all parameters, which `state_dict` puts out of sight."""

    def __init__(self, params: Any, **settings: Any) -> None:
        super().__init__(params, settings)

    def step(self, closure: Any = None) -> Any:
        """Only the state is as it would be."""
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["step"] = state.get("step", 0) + 1
            state["state1"] = torch.full(parameter.shape, state["step"], dtype=torch.uint8)
            state["qmap1"] = _TABLE

    def state_dict(self) -> dict[str, Any]:
        """Tensors of the quantised state are hidden from FSDP (bitsandbytes optim/optimizer.py)."""
        found = super().state_dict()
        hidden = {
            index: {"step": state["step"], _WRAPPED: {k: state[k] for k in ("state1", "qmap1")}}
            for index, state in found["state"].items()
        }
        return {**found, "state": hidden}


class _OtherCuda(_AdamW8bit):
    """A build for another CUDA."""

    def step(self, closure: Any = None) -> Any:
        """Fails where native code is called for."""
        raise RuntimeError("\nLibrary not found: libcudart.so.13\nhow to mend that …")


def _spec() -> Spec:
    return structure_sound(
        {
            "cvbundle": 1,
            "name": "eight-bit",
            "model": {"path": "-", "name": "cogvideox-2b", "type": "t2v"},
            "data": {
                "root": "-",
                "resolution": "9x64x96",
                "caption_column": "prompts.txt",
                "video_column": "videos.txt",
            },
            "training": {"type": "sft", "steps": 1, "mixed_precision": "no"},
            "lora": None,
            "optimizer": {"name": "adamw8bit"},
        }
    )


def _installed(monkeypatch: pytest.MonkeyPatch, optimizer: type[_AdamW8bit]) -> None:
    package, module = ModuleType("bitsandbytes"), ModuleType("bitsandbytes.optim")
    vars(module)["AdamW8bit"] = optimizer
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_every_tensor_of_its_state_can_be_saved_under_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _installed(monkeypatch, _AdamW8bit)
    weights = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    optimizer = make_optimizer(weights, _spec(), CPU)
    optimizer.step()
    tensors: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        assert state.pop("step") == 1
        tensors |= {f"{index}.{key}": value for key, value in state.items()}
    assert sorted(tensors) == ["0.qmap1", "0.state1", "1.qmap1", "1.state1"]
    # safetensors refuses tensors that share their memory.
    saved = load(save(tensors))
    assert all(torch.equal(saved[name], tensor) for name, tensor in tensors.items())
    assert saved["0.state1"].dtype == torch.uint8


def test_a_build_that_has_nothing_for_the_device_is_one_sentence_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _installed(monkeypatch, _OtherCuda)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(UserError) as refused:
        make_optimizer([weight], _spec(), CPU)
    assert str(refused.value) == (
        "optimizer adamw8bit can't take a step on cpu (Library not found: libcudart.so.13): "
        "install a bitsandbytes that was built for this CUDA, or use adamw"
    )
