"""bitsandbytes' AdamW: a checkpoint can hold its state, and it runs here or says why not."""

import json
from typing import Any

import bitsandbytes.optim
import pytest
import torch
from safetensors.torch import load

from cvbundle.files.digest import json_file
from cvbundle.problems import UserError
from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import Spec
from cvbundle.training.checkpoint import optimizer_state
from cvbundle.training.optimizers import make_optimizer
from cvbundle.training.tensors import safetensors_bytes

CPU = torch.device("cpu")


class _OtherCuda(torch.optim.Optimizer):
    """A build for another CUDA."""

    def __init__(self, params: Any, **settings: Any) -> None:
        super().__init__(params, settings)

    def step(self, closure: Any = None) -> Any:
        """Fails where native code is called for."""
        raise RuntimeError("\nLibrary not found: libcudart.so.13\nhow to mend that …")


def _spec() -> Spec:
    return structure_config(
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


def test_every_tensor_of_its_state_can_be_saved_under_its_name() -> None:
    # Smaller ones are kept in fp32.
    weights = [torch.nn.Parameter(torch.ones(64, 64)) for _ in range(2)]
    optimizer = make_optimizer(weights, _spec(), CPU)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    moments, settings = optimizer_state(optimizer)
    assert {name.partition(".")[2] for name in moments} >= {"state1", "state2", "qmap1", "absmax1"}
    assert moments["0.state1"].dtype == torch.uint8
    assert json.loads(json_file(settings))["state"] == {"0": {"step": 1}, "1": {"step": 1}}
    saved = load(safetensors_bytes(moments, {}))
    assert all(torch.equal(saved[name], tensor) for name, tensor in moments.items())


def test_a_build_that_has_nothing_for_the_device_is_one_sentence_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bitsandbytes.optim, "AdamW8bit", _OtherCuda)
    weight = torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(UserError) as refused:
        make_optimizer([weight], _spec(), CPU)
    assert str(refused.value) == (
        "optimizer adamw8bit can't take a step on cpu (Library not found: libcudart.so.13): "
        "install a bitsandbytes that was built for this CUDA, or use adamw"
    )
