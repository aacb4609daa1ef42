"""A batch is made at once, and is what its samples would be one by one."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import MODELS
from cvbundle.training.encode import SampleKeys
from cvbundle.training.randomness import SampleOrder
from cvbundle.training.samples import SampleSource
from tests.training.conftest import CompileModel

_ROWS = 3
_PATCHES = (2, 6, 8)
"""Frames, height and width of the latents: 1.5 repeats a frame in front of an odd number."""


class _Encodings:
    """Random ones, made when they are first read."""

    def __init__(self, image: tuple[int, ...], channels: int) -> None:
        self._shapes = {
            "caption": (4, 8),
            "clip": (2 * channels, 3, *_PATCHES[1:]),
            "image": image,
        }
        self._held: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)

    def read(self, key: str) -> Tensor:
        """An entry named for its kind and its row."""
        if key not in self._held:
            kind = key.split("-")[0]
            shape = self._shapes[kind]
            self._held[key] = (
                torch.randint(0, 256, shape, generator=self._generator, dtype=torch.uint8)
                if kind == "image" and shape[0] == 3
                else torch.randn(shape, generator=self._generator).to(torch.bfloat16)
            )
        return self._held[key]


def _source(bundle: Path, model: str) -> SampleSource:
    config = json.loads((bundle / "config.json").read_bytes())
    config["model"]["path"] = config["data"]["root"] = "-"
    spec = structure_config(config)
    architecture = MODELS[model].architecture
    channels = architecture.vae.latent_channels
    noisy = spec.training.image_noise is not None
    image = (3, 48, 64) if noisy else (2 * channels, 1, *_PATCHES[1:])
    keys = tuple(
        SampleKeys(
            caption=f"caption-{row}",
            clip=f"clip-{row}",
            image=f"image-{row}" if spec.model.type == "i2v" else None,
        )
        for row in range(_ROWS)
    )
    return SampleSource(
        spec=spec,
        architecture=architecture,
        cache=_Encodings(image, channels),
        keys=keys,
        empty_caption="caption-none",
        order=SampleOrder(spec.training.seed, _ROWS),
        timesteps=1000,
    )


@pytest.mark.parametrize(
    ("model", "kind", "settings"),
    [
        ("cogvideox-2b", "lora", ("data.caption_dropout=0.5",)),
        ("cogvideox1.5-5b", "lora", ("training.timestep_sampling=logit_normal",)),
        ("cogvideox-5b-i2v", "lora", ("training.image_dropout=0.5",)),
        ("cogvideox1.5-5b-i2v", "lora", ("training.image_noise=null", "training.latents=fixed")),
    ],
)
def test_a_batch_is_its_samples_bit_for_bit(
    model: str, kind: TrainingType, settings: tuple[str, ...], compile_model: CompileModel
) -> None:
    source = _source(compile_model(model, kind, *settings), model)
    numbers = [5, 2, 11, 3]
    single = [source.batch([number]) for number in numbers]
    batch = source.batch(numbers)
    for position, alone in enumerate(single):
        for mine, theirs in zip(batch.tensors, alone.tensors, strict=True):
            assert torch.equal(mine[position : position + 1], theirs)
    assert len({alone.noise.numpy().tobytes() for alone in single}) == len(numbers)
    # A loss is a sum in the order of memory.
    assert batch.latents.is_contiguous()
    assert batch.noise.is_contiguous()


def test_what_is_large_is_made_in_page_locked_memory(
    compile_model: CompileModel, simgpu: None
) -> None:
    source = _source(compile_model("cogvideox-2b", "lora"), "cogvideox-2b")
    batch = source.batch([0, 1], pinned=True)
    assert batch.latents.is_pinned()
    assert batch.noise.is_pinned()
    pinned = batch.pin_memory()
    assert all(tensor.is_pinned() for tensor in pinned.tensors)
    assert pinned.noise is batch.noise
    assert not any(tensor.is_pinned() for tensor in source.batch([0]).tensors)
