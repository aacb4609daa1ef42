"""The simulated device refuses, counts and orders what a GPU would."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.training.simgpu import MEMORY, TRAFFIC, MissingWait, installed


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with installed():
        yield


def _gpu() -> Any:
    return torch.get_device_module("simgpu")


def _on(*shape: int, index: int = 0) -> Tensor:
    return torch.ones(shape, device=f"simgpu:{index}")


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda: _on(2) + torch.ones(2),
        lambda: torch.ones(2) + _on(2),
        lambda: torch.ones(()).add_(_on(2)),
        lambda: torch.stack([_on(), torch.ones(())]),
        lambda: torch.cat([_on(2), torch.ones(2)]),
        lambda: F.linear(_on(1, 2), torch.ones(3, 2)),
        lambda: F.conv2d(torch.ones(1, 1, 4, 4), _on(1, 1, 2, 2)),
        lambda: F.embedding(torch.tensor([0]), _on(2, 2)),
        lambda: F.layer_norm(_on(2), (2,), torch.ones(2)),
        lambda: _attend(_on(1, 2, 4, 8), torch.ones(1, 2, 4, 8), torch.ones(1, 2, 4, 8)),
        lambda: torch._foreach_lerp_([_on(2)], [torch.ones(2)], 0.5),
        lambda: _on(2).addcmul_(torch.ones(2), _on(2)),
        lambda: torch.where(torch.tensor([True, False]), _on(2), _on(2)),
        lambda: _on(2) + _on(2, index=1),
        lambda: nn.Linear(2, 2)(_on(1, 2)),
    ],
)
def test_tensors_of_two_devices_are_refused(mixed: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        mixed()


def test_so_are_a_devices_indices_for_a_tensor_of_the_host() -> None:
    with pytest.raises(RuntimeError, match=r"on the same device as the indexed tensor \(cpu\)"):
        torch.ones(2)[torch.zeros(1, dtype=torch.int64, device="simgpu:0")]


def test_numbers_and_indices_of_the_host_are_taken_as_cuda_takes_them() -> None:
    assert (_on(2) * torch.tensor(3.0)).tolist() == [3.0, 3.0]
    assert _on(2)[torch.tensor([1])].tolist() == [1.0]
    # The indices were copied, and the host waited for that.
    assert TRAFFIC.syncs[-2].operator == "aten.index.Tensor with indices of the host"


def test_a_device_without_an_index_is_refused_where_cuda_refuses_it() -> None:
    with pytest.raises(ValueError, match="with a specified index"):
        _gpu().set_device("simgpu")
    with pytest.raises(ValueError, match="with a specified index"):
        _gpu().set_device(torch.device("simgpu"))
    _gpu().set_device("simgpu:1")
    assert torch.ones(1, device="simgpu").device == torch.device("simgpu:1")


def test_generators_of_the_host_are_refused_and_the_devices_own_is_apart_from_it() -> None:
    with pytest.raises(RuntimeError, match="Expected a 'simgpu' device type for generator"):
        torch.randn(2, device="simgpu:0", generator=torch.Generator())
    torch.manual_seed(0)
    first, host = torch.rand(4, device="simgpu:0"), torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), host)
    assert torch.equal(torch.rand(4, device="simgpu:0").cpu(), first.cpu())


def test_what_cuda_has_no_deterministic_version_of_is_refused() -> None:
    image = _on(1, 1, 4).requires_grad_()
    larger = F.interpolate(image, scale_factor=2.0, mode="linear")
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="upsample_linear1d_backward does not have"):
            larger.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: torch.empty(1).copy_(x),
        float,
        int,
        bool,
        lambda x: f"{x}",
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.equal(x, x),
        lambda x: x.masked_select(x > 0),
    ],
)
def test_every_wait_of_the_host_is_counted(read: Callable[[Tensor], object]) -> None:
    number = _on(1)
    assert not TRAFFIC.syncs
    read(number)
    assert TRAFFIC.syncs
    assert "test_simgpu.py" in TRAFFIC.syncs[0].place


def test_what_stays_on_the_device_waits_for_nothing() -> None:
    ((_on(2) * 2).sum() + torch.zeros((), device="simgpu:0")).to(torch.bfloat16)
    assert not TRAFFIC.syncs
    assert not TRAFFIC.copies


def test_numpy_is_refused_as_for_a_gpu() -> None:
    with pytest.raises(TypeError, match="can't convert simgpu:0 device type tensor to numpy"):
        _on(2).numpy()


def test_copies_say_whether_they_waited_and_from_what_memory() -> None:
    torch.ones(2).to("simgpu:0")
    torch.ones(2).to("simgpu:0", non_blocking=True)
    torch.ones(2).pin_memory().to("simgpu:0", non_blocking=True)
    found = [(copy.to, copy.bytes, copy.non_blocking, copy.pinned) for copy in TRAFFIC.copies]
    assert found == [
        ("device", 8, False, False),
        ("device", 8, True, False),
        ("device", 8, True, True),
    ]
    assert [sync.operator for sync in TRAFFIC.syncs] == ["copy from the host"]


def test_memory_is_pinned_by_every_name() -> None:
    assert torch.ones(2).pin_memory().is_pinned()
    assert torch.empty(2, pin_memory=True).is_pinned()
    assert torch.empty_like(_on(2), device="cpu", pin_memory=True)[:1].is_pinned()
    assert not torch.ones(2).is_pinned()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        _on(2).pin_memory()


def test_views_share_what_is_alive_and_it_ends_with_the_last() -> None:
    before = MEMORY.allocated[0]
    whole = _on(1024)
    part = whole[:1].view(1, 1)
    assert MEMORY.allocated[0] == before + 4096
    del whole
    assert MEMORY.allocated[0] == before + 4096
    del part
    assert MEMORY.allocated[0] == before
    assert MEMORY.peak[0] == before + 4096
    assert _gpu().max_memory_allocated("simgpu:0") == before + 4096


def test_what_is_alive_has_an_owner() -> None:
    from diffusers import CogVideoXTransformer3DModel

    transformer: Any = CogVideoXTransformer3DModel(
        num_attention_heads=1, attention_head_dim=16, num_layers=1, text_embed_dim=8
    )
    weights = sum(p.nbytes for p in (*transformer.parameters(), *transformer.buffers()))
    transformer.to("simgpu:0")
    trained = list(transformer.norm_out.parameters())
    size = sum(p.nbytes for p in trained)
    optimizer = torch.optim.SGD(trained, momentum=0.9)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    batch = _on(256)
    assert MEMORY.by_owner(0) == {
        "transformer": weights,
        "gradients": size,
        "optimizer": size,
        "other": batch.nbytes,
    }
    assert MEMORY.by_owner(1) == {}


def test_autocast_chooses_types_as_on_cuda() -> None:
    layer = nn.Linear(4, 4).to("simgpu:0")
    with torch.autocast("simgpu", dtype=torch.bfloat16):
        out = layer(_on(2, 4))
        assert out.dtype is torch.bfloat16
        assert F.layer_norm(out, (4,)).dtype is torch.float32
        assert (out @ out.T).dtype is torch.bfloat16
        assert torch.softmax(out, 0).dtype is torch.float32
        assert torch.cat([out, _on(2, 4)]).dtype is torch.float32
        attended = _attend(_on(1, 2, 4, 8), _on(1, 2, 4, 8), _on(1, 2, 4, 8))
        assert attended.dtype is torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is torch.float32


def test_attention_is_the_hosts_to_the_bit() -> None:
    host = [torch.randn(1, 2, 6, 8, requires_grad=True) for _ in range(3)]
    there = [tensor.detach().to("simgpu:0").requires_grad_() for tensor in host]
    outs = [_attend(*tensors) for tensors in (host, there)]
    assert torch.equal(outs[0], outs[1].cpu())
    for out in outs:
        out.sum().backward()
    for ours, theirs in zip(there, host, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.equal(ours.grad.cpu(), theirs.grad)


def test_a_missing_wait_between_streams_raises() -> None:
    side, main = _gpu().Stream("simgpu:0"), _gpu().current_stream("simgpu:0")
    weights = _on(3)
    with _gpu().stream(side), pytest.raises(MissingWait, match="reads what"):
        weights * 2
    side.wait_stream(main)
    with _gpu().stream(side):
        doubled = weights * 2
    with pytest.raises(MissingWait, match="reads what"):
        doubled + 1
    with pytest.raises(MissingWait, match="still reads"):
        weights.add_(1)
    main.wait_event(side.record_event())
    weights.add_(doubled)


def test_the_host_can_wait_for_a_stream_instead() -> None:
    side = _gpu().Stream("simgpu:0")
    with _gpu().stream(side):
        made = _on(3)
    _gpu().synchronize("simgpu:0")
    assert (made + 1).tolist() == [2.0, 2.0, 2.0]


def test_memory_that_is_freed_while_another_stream_uses_it_raises() -> None:
    def use(*, recorded: bool) -> None:
        side, main = _gpu().Stream("simgpu:0"), _gpu().current_stream("simgpu:0")
        batch = _on(3)
        side.wait_stream(main)
        with _gpu().stream(side):
            batch * 2
        if recorded:
            batch.record_stream(side)

    use(recorded=True)
    _on(1) + 1
    use(recorded=False)
    with pytest.raises(MissingWait, match="freed while stream"):
        _on(1) + 1


def test_a_copy_to_pinned_memory_is_not_there_before_it_is_waited_for() -> None:
    side, main = _gpu().Stream("simgpu:0"), _gpu().current_stream("simgpu:0")
    weights, host = _on(2), torch.empty(2, pin_memory=True)
    side.wait_stream(main)
    with _gpu().stream(side):
        host.copy_(weights, non_blocking=True)
        done = side.record_event()
    assert not TRAFFIC.syncs
    assert host.isnan().all()
    assert not done.query()
    with pytest.raises(MissingWait):
        weights.zero_()
    main.wait_event(done)
    weights.zero_()
    assert host.isnan().all()
    done.synchronize()
    assert done.query()
    assert host.tolist() == [1.0, 1.0]


def test_afterwards_torch_says_that_there_is_no_accelerator() -> None:
    with installed():
        assert torch.accelerator.current_accelerator() == torch.device("simgpu")
    assert torch.accelerator.current_accelerator() is None


def test_pinned_memory_that_is_written_to_during_a_copy_raises() -> None:
    host = torch.ones(2).pin_memory()
    on_device = host.to("simgpu:0", non_blocking=True)
    _gpu().synchronize("simgpu:0")
    host.zero_()
    _gpu().synchronize("simgpu:0")
    on_device.copy_(host, non_blocking=True)
    host.fill_(2.0)
    with pytest.raises(MissingWait, match="pinned memory was written to"):
        _gpu().synchronize("simgpu:0")


def test_a_parameter_can_be_given_other_elements() -> None:
    parameter = nn.Parameter(_on(2).to(torch.bfloat16))
    parameter.data = parameter.data.to(torch.float32)
    assert parameter.dtype is torch.float32
    parameter.sum().backward()
    assert parameter.grad is not None
    assert parameter.grad.dtype is torch.float32
    parameter.data.add_(parameter.grad)
    assert parameter.tolist() == [2.0, 2.0]
