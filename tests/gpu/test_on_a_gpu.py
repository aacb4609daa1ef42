"""What the trainer relies on, by the kernels of a real GPU: the same bits each time, and memory."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from cvbundle.training.device import driver_version, peak_memory, process_device

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As `launch.sh` and the trainer have it."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def device() -> torch.device:
    """The first GPU, as the trainer takes it."""
    return process_device("cuda")


def test_the_device_has_its_index_and_a_driver(device: torch.device) -> None:
    assert device == torch.device("cuda", 0)
    assert driver_version(device)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_flash_attention_gives_the_same_gradients_each_time(
    device: torch.device, dtype: torch.dtype
) -> None:
    """At a sequence of several blocks, whose sum is in another order without the flag."""
    torch.manual_seed(0)
    shape = (1, 30, 3000, 64)
    query, key, value = (
        torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3)
    )

    def gradients() -> tuple[torch.Tensor, ...]:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            output = scaled_dot_product_attention(query, key, value)
        return torch.autograd.grad(output.float().square().sum(), (query, key, value))

    first = gradients()
    for _ in range(3):
        assert all(map(torch.equal, first, gradients()))


def test_a_transformer_gives_the_same_gradients_each_time(device: torch.device) -> None:
    torch.manual_seed(0)
    transformer: Any = CogVideoXTransformer3DModel(
        num_layers=2, num_attention_heads=8, sample_frames=9, sample_height=16, sample_width=24
    )
    transformer.enable_gradient_checkpointing()
    transformer.to(device, torch.bfloat16).train()
    latents = torch.randn(1, 3, 16, 16, 24, device=device, dtype=torch.bfloat16)
    prompt = torch.randn(1, 226, 4096, device=device, dtype=torch.bfloat16)

    def gradients() -> list[torch.Tensor]:
        transformer.zero_grad()
        moment = torch.tensor([500], device=device)
        transformer(latents, prompt, moment, return_dict=False)[
            0
        ].float().square().mean().backward()
        return [p.grad.clone() for p in transformer.parameters() if p.grad is not None]

    first = gradients()
    assert first
    for _ in range(3):
        assert all(map(torch.equal, first, gradients()))


def test_the_vae_encodes_a_clip_to_the_same_bits_each_time(device: torch.device) -> None:
    torch.manual_seed(0)
    vae: Any = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
    )
    vae.enable_tiling()
    vae.to(device, torch.bfloat16).eval()
    clip = torch.randn(1, 3, 9, 480, 720, device=device, dtype=torch.bfloat16)
    with torch.no_grad():
        first = vae.encode(clip).latent_dist.parameters
        assert torch.equal(first, vae.encode(clip).latent_dist.parameters)


def test_a_fused_optimizer_gives_the_same_weights_each_time(device: torch.device) -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(1 << 20, device=device))
        optimizer = torch.optim.AdamW([weight], fused=True)
        for _ in range(5):
            weight.grad = torch.sin(weight.detach())
            optimizer.step()
        return weight.detach()

    assert torch.equal(weights(), weights())


def test_peak_memory_is_counted(device: torch.device) -> None:
    before = torch.cuda.memory_allocated(device)
    torch.empty(64 << 20, dtype=torch.uint8, device=device)
    peak = peak_memory(device)
    assert peak is not None
    assert peak >= before + (64 << 20)
