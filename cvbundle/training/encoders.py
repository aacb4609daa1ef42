"""What the text encoder makes of a caption, and the VAE of frames."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from transformers import T5EncoderModel

    from cvbundle.training.models import AutoencoderKLCogVideoX

Pixels = NDArray[np.uint8]

_SCALED = 4
"""Frames whose pixels are scaled at a time."""


class Tokens(Protocol):
    """What a tokenizer returns, as far as it is used."""

    @property
    def input_ids(self) -> torch.Tensor:
        """[texts, length], int64."""


class Tokenizer(Protocol):
    """transformers' tokenizers, as far as they are used."""

    def __call__(
        self,
        text: list[str],
        *,
        padding: str,
        max_length: int,
        truncation: bool,
        add_special_tokens: bool,
        return_tensors: str,
    ) -> Tokens:
        """The tokens of some texts."""


@torch.inference_mode()
def encode_caption(
    caption: str, tokenizer: Tokenizer, encoder: "T5EncoderModel", length: int
) -> torch.Tensor:
    """The embedding [length, dim] of a caption: padded and cut as the pipeline does it.

    Source: diffusers pipeline_cogvideox.py, `_get_t5_prompt_embeds`.
    """
    tokens = tokenizer(
        [caption],
        padding="max_length",
        max_length=length,
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    )
    embedding: torch.Tensor = encoder(tokens.input_ids.to(encoder.device))[0][0]
    return embedding


@torch.inference_mode()
def encode_pixels(pixels: Pixels, vae: "AutoencoderKLCogVideoX") -> torch.Tensor:
    """The VAE's moments (mean, then log variance) [2C, F', H/8, W/8] of frames [F, H, W, 3]."""
    moments: torch.Tensor = vae.encode(scaled(pixels, vae)).latent_dist.parameters[0]
    return moments


def scaled(pixels: Pixels, vae: "AutoencoderKLCogVideoX") -> torch.Tensor:
    """Frames [F, H, W, 3] as the VAE is given them: [1, 3, F, H, W] in -1..1, in its type.

    In fp32 as the pipeline's image processor does it, then cast; a few frames at a time, since 81
    of 768 x 1360 pixels are 1 GiB in fp32 and several of that are alive at once.
    """
    whole = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].to(vae.device)
    scaled = torch.empty_like(whole, dtype=vae.dtype)
    for some, place in zip(whole.split(_SCALED, 2), scaled.split(_SCALED, 2), strict=True):
        place.copy_(some.to(torch.float32) / 255 * 2 - 1)
    return scaled
