"""Each process of a sharded model reads its own rows of the base model, and holds no others."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from cvbundle.bundle.bundle import Bundle
from cvbundle.spec.schema import Spec, TrainingType
from cvbundle.spec.tables.strategies import STRATEGIES
from cvbundle.training import components
from cvbundle.training.job import read_job
from cvbundle.training.sharding import held, shard, whole
from cvbundle.training.shares import fill_shares, stand_ins
from cvbundle.training.stored import Reader, Stored
from cvbundle.training.weights import make_trainable
from tests.training.conftest import CompileModel
from tests.training.large import resident, write_large_transformer
from tests.training.test_kernels import loaded

CPU = torch.device("cpu")


def _sharded(folder: Path, spec: Spec) -> tuple[Any, dict[str, Stored], torch.dtype]:
    """A transformer whose weights are shared out and empty, as `load_trainer` makes it."""
    dtype = torch.float32 if spec.lora is None else torch.bfloat16
    transformer: Any = components.empty_transformer(folder)
    stored = components.stored_transformer(transformer, folder, dtype)
    patch = transformer.patch_embed
    if "pos_embedding" in patch._non_persistent_buffers_set:
        patch.pos_embedding = torch.zeros(1)
    with stand_ins(transformer):
        make_trainable(transformer, spec)
    shard(transformer, STRATEGIES["zero3"], dtype=torch.bfloat16, device=CPU)
    return transformer, stored, dtype


def _join(rank: int, world_size: int, meeting: Path) -> None:
    store = f"file://{meeting}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)


def _read(rank: int, world_size: int, bundle: Path, meeting: Path) -> None:
    _join(rank, world_size, meeting)
    job = read_job(Bundle(bundle), bundle / "runs/none", "cpu", 1)
    transformer, stored, dtype = _sharded(job.model_folder, job.spec)
    read = []
    original = Reader._read

    def counted(self: Reader, path: Path, at: int, into: Tensor) -> None:
        read.append(into.nbytes)
        original(self, path, at, into)

    Reader._read = counted  # type: ignore[method-assign]
    fill_shares(transformer, stored, CPU, pinned=False)
    Reader._read = original  # type: ignore[method-assign]
    rows = {name: -(-each.shape[0] // world_size) for name, each in stored.items()}
    sizes = {name: math.prod(s.shape[1:]) * s.dtype.itemsize for name, s in stored.items()}
    assert 0 < sum(read) <= sum(rows[name] * sizes[name] for name in stored)
    expected = components.load_transformer(job.model_folder, dtype, CPU)
    alone = components.load_transformer(job.model_folder, dtype, CPU)
    make_trainable(alone, job.spec)
    weights = dict(alone.named_parameters())
    assert len(weights) >= len(stored)
    for name, weight in transformer.named_parameters():
        assert weight.dtype == weights[name].dtype
        assert weight.requires_grad == weights[name].requires_grad
        assert torch.equal(whole(weight.detach()), weights[name].detach()), name
    for name, buffer in expected.named_buffers():
        if "pos_embedding" not in transformer.patch_embed._non_persistent_buffers_set:
            assert torch.equal(transformer.get_buffer(name), buffer.to(torch.bfloat16)), name
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "kind", "world_size"),
    [
        ("cogvideox-5b-i2v", "sft", 2),
        ("cogvideox-5b-i2v", "lora", 3),
        ("cogvideox-2b", "sft", 4),
    ],
)
def test_every_process_reads_its_rows_of_each_weight_and_no_others(
    model: str, kind: TrainingType, world_size: int, compile_model: CompileModel, tmp_path: Path
) -> None:
    bundle = compile_model(model, kind, "training.mixed_precision=bf16")
    spawn(_read, (world_size, bundle, tmp_path / "meeting"), nprocs=world_size)


_CONSTANT = 48 << 20
"""What a process may hold beside its share: buffers, and pages of code that is run first here."""


def _hold(rank: int, world_size: int, bundle: Path, folder: Path, meeting: Path) -> None:
    _join(rank, world_size, meeting)
    job = read_job(Bundle(bundle), bundle / "runs/none", "cpu", 1)
    # What is imported is there before anything is measured.
    _sharded(job.model_folder, job.spec)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    transformer, stored, _ = _sharded(folder, job.spec)
    fill_shares(transformer, stored, CPU, pinned=False)
    peak = resident("VmHWM") - before
    share = sum(held(weight).nbytes for weight in transformer.parameters())
    whole_size = sum(weight.numel() * 4 for weight in transformer.parameters())
    assert whole_size > 400e6
    assert share < 1.01 * whole_size / world_size
    assert share < peak < share + _CONSTANT, (peak, share)
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16], ids=str)
def test_a_process_never_holds_more_than_its_share_and_a_constant(
    saved: torch.dtype, compile_model: CompileModel, tmp_path: Path
) -> None:
    bundle = compile_model("cogvideox-2b", "sft")
    write_large_transformer(tmp_path, saved, layers=7, heads=16)
    arguments = (4, bundle, tmp_path, tmp_path / "meeting")
    spawn(_hold, arguments, nprocs=4)


@pytest.mark.train
@pytest.mark.parametrize("kind", ["sft", "lora"])
def test_a_sharded_run_never_loads_the_whole_transformer(
    kind: TrainingType, compile_model: CompileModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "fill_transformer", pytest.fail)
    bundle = compile_model("cogvideox-2b", kind, "launch.strategy=zero3")
    with loaded(bundle, 1) as (trainer, _):
        weights = trainer.model.transformer.parameters()
        assert all(isinstance(weight, DTensor) and not weight.is_meta for weight in weights)
