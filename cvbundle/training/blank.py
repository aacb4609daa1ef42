"""Models of a bundle's architecture without their weights, as fake tensors of the real size.

What is built here is what `components` loads: the same classes, frozen, in the same types. They are
built on the meta device, since peft and transformers make modules in ways that fake tensors refuse,
and become fake tensors when they are whole.
"""

from typing import Any

import torch
from attrs import asdict
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from cvbundle.spec.tables.architecture import TextEncoder, Transformer, Vae


def transformer_on_meta(config: Transformer, dtype: torch.dtype) -> Any:
    """The frozen transformer."""
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel(**asdict(config))
    return _cast(transformer, dtype).requires_grad_(False)


def vae_on_meta(config: Vae, dtype: torch.dtype) -> Any:
    """The frozen VAE, both halves; layers that a config file may vary are those of CogVideoX."""
    stages = len(config.block_out_channels)
    with torch.device("meta"):
        vae = AutoencoderKLCogVideoX(
            in_channels=config.in_channels,
            out_channels=config.in_channels,
            block_out_channels=config.block_out_channels,
            down_block_types=("CogVideoXDownBlock3D",) * stages,
            up_block_types=("CogVideoXUpBlock3D",) * stages,
            latent_channels=config.latent_channels,
            norm_num_groups=min(32, *config.block_out_channels),
            temporal_compression_ratio=config.temporal_compression_ratio,
            scaling_factor=config.scaling_factor,
            invert_scale_latents=config.invert_scale_latents,
        )
    return _cast(vae, dtype).eval().requires_grad_(False)


def text_encoder_on_meta(config: TextEncoder, dtype: torch.dtype) -> Any:
    """The frozen T5 encoder."""
    sizes = asdict(config)
    with torch.device("meta"):
        encoder = T5EncoderModel(
            T5Config(
                **sizes,
                feed_forward_proj="gated-gelu",
                is_encoder_decoder=False,
                use_cache=False,
            )
        )
    return _cast(encoder, dtype).eval().requires_grad_(False)


def faked(module: Any) -> Any:
    """The same module with a fake tensor for each parameter and buffer; inside a fake mode only."""
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
            made[id(tensor)] = empty
        return made[id(tensor)]

    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = fake(tensor)
    return module


def _cast(module: Any, dtype: torch.dtype) -> Any:
    """Floating point numbers in a type, as `from_pretrained` casts them."""
    kept = getattr(module, "_keep_in_fp32_modules", None) or ()
    for name, parameter in module.named_parameters():
        keep = dtype == torch.float16 and any(part in kept for part in name.split("."))
        parameter.data = parameter.data.to(torch.float32 if keep else dtype)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.to(dtype)
    return module
