"""Gradient checkpointing: what a block computes again in the backward pass."""

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch._ops import OpOverload
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from cvbundle.spec.schema import GradientCheckpointing

if TYPE_CHECKING:
    from cvbundle.training.models import CogVideoXTransformer3DModel

_ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""Fused attention by backend (aten/src/ATen/native/native_functions.yaml); `math` is none."""


def checkpoint_blocks(
    transformer: "CogVideoXTransformer3DModel", how: GradientCheckpointing, *, compiled: bool
) -> None:
    """Let each block keep only its inputs, or `selective`: attention's output too.

    A block's linear layers take 24 S D^2 operations for S tokens of width D and its attention
    4 S^2 D, which is about the same for CogVideoX-5b at 49x480x720. Attention's output takes the
    memory of the block's input, and a number for each token and head.
    """
    if how == "selective":
        again = partial(checkpoint, use_reentrant=False, context_fn=_keeping_attention)
        # Of a compiled block only the compiler sees the operators.
        transformer.enable_gradient_checkpointing(torch.compile(again) if compiled else again)
    elif how:
        transformer.enable_gradient_checkpointing()


def _keeping_attention() -> "tuple[AbstractContextManager[None], AbstractContextManager[None]]":
    contexts: tuple[AbstractContextManager[None], AbstractContextManager[None]]
    contexts = create_selective_checkpoint_contexts(kept_operators())
    return contexts


def kept_operators() -> list[OpOverload]:
    """The operators whose results are kept, as far as this torch has them."""
    packets = [getattr(torch.ops.aten, name, None) for name in _ATTENTION]
    return [packet.default for packet in packets if packet is not None]
