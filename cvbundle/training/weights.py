"""The weights that are trained: an adapter's, or all of the transformer's."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cvbundle.spec.schema import Lora, Spec
from cvbundle.training.randomness import Purpose, torch_seed
from cvbundle.training.sharding import held, part

if TYPE_CHECKING:
    from peft import LoraConfig

    from cvbundle.training.models import CogVideoXTransformer3DModel

ADAPTER_NAME = "default"


def make_trainable(
    transformer: "CogVideoXTransformer3DModel", spec: Spec
) -> dict[str, nn.Parameter]:
    """Put the adapter on, or unfreeze everything; what is trained is in fp32. By name."""
    if spec.lora is not None:
        # peft draws the first weights from torch's generator, on the CPU.
        torch.manual_seed(torch_seed(spec.training.seed, Purpose.WEIGHTS, 0))
        transformer.add_adapter(lora_config(spec.lora), adapter_name=ADAPTER_NAME)
    else:
        transformer.requires_grad_(True)
    cast_once(transformer)
    for name, parameter in list(transformer.named_parameters()):
        if parameter.requires_grad and parameter.dtype != torch.float32:
            module, _, its_name = name.rpartition(".")
            in_fp32 = nn.Parameter(parameter.detach().to(torch.float32))
            setattr(transformer.get_submodule(module), its_name, in_fp32)
    return {name: p for name, p in transformer.named_parameters() if p.requires_grad}


def cast_once(transformer: "CogVideoXTransformer3DModel") -> None:
    """Cast what attention is given to autocast's type once, not once for each matrix product.

    CUDA's autocast computes layer norms in fp32, and each product of `to_q`, `to_k`, `to_v` and of
    their adapters would make a bf16 copy of its own. And peft casts an adapter's input to the
    adapter's fp32 (tuners/tuners_utils.py, `_cast_input_dtype`), which autocast casts back.
    """
    from peft.tuners.lora import LoraLayer

    for module in transformer.modules():
        if isinstance(module, LoraLayer):
            module.cast_input_dtype_enabled = False
    for block in transformer.transformer_blocks:
        block.get_submodule("attn1").register_forward_pre_hook(_in_autocast_type, with_kwargs=True)


def _in_autocast_type(
    _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    states: Tensor = named["hidden_states"]
    device = states.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return arguments, named
    dtype = torch.get_autocast_dtype(device)
    cast = {name: named[name].to(dtype) for name in ("hidden_states", "encoder_hidden_states")}
    return arguments, {**named, **cast}


def lora_config(lora: Lora) -> "LoraConfig":
    """The adapter as peft describes it."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a float is fine: it is only divided
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        target_modules=list(lora.target_modules),
        init_lora_weights=True,
    )


class Average:
    """Exponential moving average of trained weights, in fp32."""

    def __init__(self, trained: Mapping[str, nn.Parameter], decay: float) -> None:
        self._trained = trained
        self._decay = decay
        self.tensors = {name: p.detach().clone() for name, p in trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are after a step."""
        averages = [held(tensor) for tensor in self.tensors.values()]
        weights = [held(parameter) for parameter in self._trained.values()]
        torch._foreach_lerp_(averages, weights, 1 - self._decay)

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Go on from averages that were saved."""
        for name, tensor in self.tensors.items():
            held(tensor).copy_(held(part(saved[name], tensor)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages stand in the model while the block runs."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        """Averages and weights change places, in the memory that they have."""
        for name, parameter in self._trained.items():
            weight, average = held(parameter), held(self.tensors[name])
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
