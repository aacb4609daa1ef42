"""Whatever is loaded or computed for a process is on that process's device, not on another.

The device is the second simulated one while the first is the current one, so that what says only
the type of the device shows as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cvbundle.spec.schema import Resolution
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.models import MODELS
from cvbundle.training import components, encoders, objective
from tests.training.conftest import DemoOf

_ARCHITECTURES: dict[str, Architecture] = {name: card.architecture for name, card in MODELS.items()}
_SIZE = Resolution(frames=13, height=256, width=384)
_DTYPE = torch.bfloat16

pytestmark = pytest.mark.usefixtures("simgpu")


@pytest.fixture
def device() -> torch.device:
    """The process's."""
    return torch.device("simgpu", 1)


@pytest.fixture
def base(demo_of: DemoOf) -> Path:
    """A base model with a computed table of positions."""
    return demo_of("cogvideox-2b", "lora") / "model"


def _places(module: nn.Module) -> set[torch.device]:
    return {tensor.device for tensor in (*module.parameters(), *module.buffers())}


@pytest.mark.parametrize("name", ["cogvideox-5b", "cogvideox1.5-5b", "cogvideox1.5-5b-i2v"])
def test_rotary_tables(name: str, device: torch.device) -> None:
    tables = objective.rotary_embedding(_ARCHITECTURES[name], _SIZE, device)
    assert tables is not None
    assert {table.device for table in tables} == {device}


def test_ofs(device: torch.device) -> None:
    ofs = objective.ofs_embedding(_ARCHITECTURES["cogvideox1.5-5b-i2v"], device, _DTYPE)
    assert ofs is not None
    assert ofs.device == device


def test_noise_schedule(device: torch.device) -> None:
    velocity = objective.Velocity(torch.rand(10), snr_gamma=5.0, device=device)
    latents = torch.ones(1, 1, 1, 2, 2, device=device)
    steps = torch.zeros(1, dtype=torch.int64, device=device)
    assert velocity.noisy(latents, latents, steps).device == device
    assert velocity.loss(latents, latents, latents, steps).device == device


def test_the_transformer_and_its_positions(base: Path, device: torch.device) -> None:
    transformer = components.load_transformer(base, _DTYPE, device)
    assert _places(transformer) == {device}
    # Of a run's own size.
    objective.keep_positions(
        transformer, _ARCHITECTURES["cogvideox-2b"], _SIZE, _DTYPE, torch.device("simgpu", 0)
    )
    assert transformer.patch_embed.pos_embedding.device == torch.device("simgpu", 0)


def test_a_caption_and_its_encoder(base: Path, device: torch.device) -> None:
    encoder = components.load_text_encoder(base, _DTYPE, device)
    assert _places(encoder) == {device}
    tokenizer = components.load_tokenizer(base)
    assert encoders.encode_caption("A red square.", tokenizer, encoder, 226).device == device


def test_a_clip_and_its_encoder(base: Path, device: torch.device) -> None:
    vae: Any = components.load_vae(base, _DTYPE, device, tiling=False, slicing=False, decoder=False)
    assert _places(vae) == {device}
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    assert encoders.encode_pixels(pixels, vae).device == device
