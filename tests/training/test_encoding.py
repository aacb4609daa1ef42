"""What an encoding is made of: the pixels as the pipeline scales them, the machine that made it."""

from typing import Any

import numpy as np
import pytest
import torch

from cvbundle.bundle.bundle import Bundle
from cvbundle.files.encodings import entries_folder
from cvbundle.training import encode
from cvbundle.training.cache import EncodingCache
from cvbundle.training.encode import Encoder
from cvbundle.training.encoders import scaled
from cvbundle.training.job import Job, read_job
from tests.training.conftest import CompileDemo


class _Vae:
    device = torch.device("cpu")

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("frames", [1, 3, 9])
def test_pixels_are_scaled_a_few_frames_at_a_time_to_what_they_are_all_at_once(
    frames: int, dtype: torch.dtype
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 16, 24, 3)).astype(np.uint8)
    vae: Any = _Vae(dtype)
    at_once = torch.from_numpy(pixels).permute(3, 0, 1, 2)[None].to(torch.float32)
    expected = (at_once / 255 * 2 - 1).to(dtype)
    found = scaled(pixels, vae)
    assert torch.equal(found, expected)
    # The layout chooses the kernel, and so the last bits.
    assert found.stride() == expected.stride()


def _keys(job: Job) -> tuple[str, str]:
    encoder = Encoder(job, EncodingCache(entries_folder(job.run)))
    return encoder.caption_key("a ship"), encoder.keys(job.samples[0]).clip


def test_an_encoding_of_one_cpu_does_not_serve_another_kind(
    compile_demo: CompileDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_demo()
    job = read_job(Bundle(bundle), bundle, "cpu", 1)
    here = _keys(job)
    assert _keys(job) == here
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024")
    assert not set(_keys(job)) & set(here)


def test_an_encoding_of_one_gpu_does_not_serve_another_model_but_any_of_its_kind(
    compile_demo: CompileDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {0: "NVIDIA A100-SXM4-80GB", 1: "NVIDIA A100-SXM4-80GB", 2: "NVIDIA H100 80GB HBM3"}
    current = 0
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: names[current])
    bundle = compile_demo()
    job = read_job(Bundle(bundle), bundle, "cuda", 1)
    first = _keys(job)
    current = 1
    assert _keys(job) == first
    current = 2
    assert not set(_keys(job)) & set(first)
    current = 0
    with monkeypatch.context() as patch:
        patch.setattr(torch.version, "cuda", "99.9")
        assert not set(_keys(job)) & set(first)
    assert _keys(job) == first
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 99999)
    assert not set(_keys(job)) & set(first)


def test_an_encoding_of_other_code_is_made_again(
    compile_demo: CompileDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_demo()
    job = read_job(Bundle(bundle), bundle, "cpu", 1)
    here = _keys(job)
    monkeypatch.setattr(encode, "_code", lambda *_: "other")
    assert not set(_keys(job)) & set(here)
