"""cogvideox-2b at its real size with random weights, for whoever has no network and no 14 GB.

The transformer and the VAE are the real ones' size. The text encoder is as wide as the real one and
two layers deep: its captions are encoded once and it is freed, so its depth decides nothing else.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from numpy.typing import NDArray
from transformers import T5Config, T5EncoderModel

from cvbundle.dataset.video import write_clip
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.tiny import write_tiny_model
from tests.training.large import write_large_transformer

NAME = "cogvideox-2b"
_DTYPE = torch.float16
"""Of the files on the hub."""
_SIDE = 96
"""Pixels of the square that moves in the clip."""


def write_full_model(folder: Path) -> None:
    """Write the model in diffusers layout; 4.9 GB, of which no more than a part is held at once."""
    write_tiny_model(folder, NAME)
    for part in ("transformer", "vae", "text_encoder"):
        shutil.rmtree(folder / part)
    write_large_transformer(folder, _DTYPE)
    _save(_vae(), folder / "vae")
    _save(_text_encoder(), folder / "text_encoder")


def _save(model: Any, folder: Path) -> None:
    model.to(_DTYPE).save_pretrained(folder)


def _vae() -> Any:
    found = MODELS.get(NAME)
    assert found is not None
    vae = found.architecture.vae
    torch.manual_seed(0)
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(128, 256, 256, 512),
        layers_per_block=3,
        latent_channels=vae.latent_channels,
        scaling_factor=vae.scaling_factor,
    )


def _text_encoder() -> Any:
    torch.manual_seed(0)
    return T5EncoderModel(
        T5Config(
            vocab_size=32128,
            d_model=4096,
            d_kv=64,
            d_ff=10240,
            num_layers=2,
            num_heads=64,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            use_cache=False,
        )
    )


def write_data(folder: Path, frames: int, height: int, width: int) -> None:
    """Two clips of a square that moves, with captions."""
    (folder / "videos").mkdir(parents=True)
    names = []
    for index, caption in enumerate(("A square moves right.", "A square moves left.")):
        names.append((f"videos/{index}.mp4", caption))
        pictures = (_picture(at, frames, height, width, index) for at in range(frames))
        write_clip(folder / names[-1][0], pictures, 8)
    (folder / "videos.txt").write_text("".join(f"{name}\n" for name, _ in names))
    (folder / "prompts.txt").write_text("".join(f"{caption}\n" for _, caption in names))


def _picture(at: int, frames: int, height: int, width: int, index: int) -> NDArray[np.uint8]:
    picture = np.full((height, width, 3), 40 + 100 * index, np.uint8)
    side = min(_SIDE, height // 2, width // 2)
    left = (width - side) * at // max(1, frames - 1)
    left = width - side - left if index else left
    picture[(height - side) // 2 : (height + side) // 2, left : left + side] = (220, 60, 40)
    return picture
