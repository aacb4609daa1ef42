"""Models of a bundle's architecture without their weights, as fake tensors of the real size.

What is built here is what `components` loads: the same classes, frozen, in the same types. They are
built on the meta device, since peft and transformers make modules in ways that fake tensors refuse,
and become fake tensors when they are whole.
"""

from typing import TypeVar

import torch
from attrs import asdict
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from cvbundle.spec.tables.architecture import TextEncoder, Transformer, Vae
from cvbundle.training.models import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

M = TypeVar("M", bound=nn.Module)


def transformer_on_meta(config: Transformer, dtype: torch.dtype) -> CogVideoXTransformer3DModel:
    """The frozen transformer."""
    with torch.device("meta"):
        transformer: CogVideoXTransformer3DModel = CogVideoXTransformer3DModel(**asdict(config))
    _cast(transformer, dtype)
    transformer.requires_grad_(False)
    return transformer


def vae_on_meta(config: Vae, dtype: torch.dtype) -> AutoencoderKLCogVideoX:
    """The frozen VAE, both halves; layers that a config file may vary are those of CogVideoX."""
    stages = len(config.block_out_channels)
    with torch.device("meta"):
        vae: AutoencoderKLCogVideoX = AutoencoderKLCogVideoX(
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
    _cast(vae, dtype)
    vae.eval().requires_grad_(False)
    return vae


def text_encoder_on_meta(config: TextEncoder, dtype: torch.dtype) -> T5EncoderModel:
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
    _cast(encoder, dtype)
    encoder.eval().requires_grad_(False)
    return encoder


def faked(module: M) -> M:
    """The same module with a fake tensor for each parameter and buffer; inside a fake mode only."""
    made: dict[nn.Parameter, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if parameter not in made:
                made[parameter] = nn.Parameter(_fake(parameter), parameter.requires_grad)
            part._parameters[name] = made[parameter]
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = _fake(buffer)
    return module


def _fake(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Floating point numbers in a type, as `from_pretrained` casts them."""
    kept = getattr(module, "_keep_in_fp32_modules", None) or ()
    for name, parameter in module.named_parameters():
        keep = dtype == torch.float16 and any(part in kept for part in name.split("."))
        parameter.data = parameter.data.to(torch.float32 if keep else dtype)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.data = buffer.data.to(dtype)
