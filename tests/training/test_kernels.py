"""A step launches the kernels that its arithmetic needs, and no fill or cast beside them."""

import json
import math
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch.nn.attention import SDPBackend

from cvbundle.compiler.build import Compiled
from cvbundle.spec.schema import TrainingType
from cvbundle.training import encode, encoders, kernels, objective, weights
from cvbundle.training.fill import fill_cache
from cvbundle.training.load import load_trainer
from cvbundle.training.loop import Trainer
from cvbundle.training.samples import Batch, sample_source
from cvbundle.training.start import start
from tests.training.conftest import CompileModel, Train, result

_CLEARS_ITS_RESULT = ("aten::sum", "aten::native_layer_norm_backward")
"""What clears the memory of its result on a CPU, where a GPU's kernel needs no fill."""

_ATTENTION_CLEARS = 3
"""The gradients of query, key and value, which the CPU's kernel adds up in memory it clears."""

_QUICK = (
    "training.steps=4",
    "checkpointing.steps=4",
    "validation=null",
    "training.image_noise=null",
    "training.batch_size=1",
)


@contextmanager
def loaded(bundle: Path, steps: int) -> Iterator[tuple[Trainer, Iterator[Batch]]]:
    """What a bundle trains, and the batches of its first steps, which are made already."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    with start(bundle, "fresh", "cpu", 1) as begun:
        job, processes, outputs = begun.job, begun.processes, begun.outputs
        outputs.record.start()
        fill_cache(job, begun.encoder, processes, outputs, threading.Event())
        source, spec = sample_source(job, begun.encoder), job.spec
        size = spec.training.batch_size
        starts = range(0, steps * spec.global_batch, size)
        batches = [source.batch(range(start, start + size)) for start in starts]
        yield load_trainer(job, processes, begun.accelerator, outputs.reporter), iter(batches)


def _launched(trainer: Trainer, batches: Iterator[Batch]) -> Counter[str]:
    """Fills and casts of more than one number in the third step: by then nothing is new."""
    steps = trainer.steps(batches)
    next(steps)
    next(steps)
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    ) as profiler:
        next(steps)
    found: Counter[str] = Counter()
    for event in profiler.events() or ():
        shape = (event.input_shapes or [[]])[0]
        parent = event.cpu_parent.name if event.cpu_parent is not None else ""
        if math.prod(shape) == 1 or parent in _CLEARS_ITS_RESULT:
            continue
        if event.name == "aten::zero_" or (event.name == "aten::fill_" and parent != "aten::zero_"):
            found["fills"] += 1
        elif event.name == "aten::_to_copy":
            found["casts"] += 1
    return found


def _needed(trainer: Trainer) -> dict[str, int]:
    """What the arithmetic of a step consists of, block by block, for one sample at a time."""
    spec, architecture = trainer.job.spec, trainer.job.architecture.transformer
    blocks = architecture.num_layers
    rotary = architecture.use_rotary_positional_embeddings
    # A slice's gradient is zero around it. Text and video are cut out of what the feed-forward
    # returns, but nobody asks for the last block's text. Of query and key the video is cut out,
    # and the rotated one put in its place.
    fills = blocks * (2 + (4 if rotary else 0) + _ATTENTION_CLEARS) - 1
    if spec.lora is None:
        # Text and video are cut out of the embedding; the last block's text has no gradient.
        fills += 2 + 1
    casts = 0
    if spec.training.mixed_precision == "bf16":
        # The matrices of an adapter, and their gradients; query and key are rotated in fp32.
        matrices = 2 * len(spec.lora.target_modules) if spec.lora is not None else 0
        rotations = 6 if rotary else 0
        forwards = 2 if spec.training.gradient_checkpointing else 1
        casts += blocks * (forwards + 1) * (matrices + rotations)
        # Latents, image and embeddings on the way in; the velocity on the way out, its gradient.
        image, ofs = spec.model.type == "i2v", architecture.ofs_embed_dim is not None
        casts += 2 + image + ofs + 2
    micro_steps = trainer.job.accumulation
    return {"fills": micro_steps * fills, "casts": micro_steps * casts}


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind", "settings"),
    [
        ("cogvideox-2b", "lora", ("training.mixed_precision=no",)),
        ("cogvideox-2b", "sft", ("training.mixed_precision=no",)),
        ("cogvideox-2b", "lora", ("training.mixed_precision=bf16",)),
        ("cogvideox-5b", "lora", ("training.mixed_precision=bf16",)),
        (
            "cogvideox-5b",
            "lora",
            ("training.mixed_precision=bf16", "training.gradient_checkpointing=true"),
        ),
        (
            "cogvideox1.5-5b-i2v",
            "lora",
            ("training.mixed_precision=bf16", "training.gradient_accumulation_steps=3"),
        ),
    ],
)
def test_a_step_fills_and_casts_no_more_than_its_arithmetic_needs(
    model: str, kind: TrainingType, settings: tuple[str, ...], compile_model: CompileModel
) -> None:
    with loaded(compile_model(model, kind, *_QUICK, *settings), 3) as (trainer, batches):
        assert _launched(trainer, batches) == {n: c for n, c in _needed(trainer).items() if c}


@pytest.mark.train
def test_casting_once_changes_no_bit(
    compile_model: CompileModel, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_model("cogvideox-5b", "lora", *_QUICK, "training.mixed_precision=bf16")
    once = train_here(bundle)
    monkeypatch.setattr(weights, "cast_once", lambda _: None)
    assert result(train_here(bundle, "fresh")) == result(once)


@pytest.mark.train
def test_attention_casts_its_input_before_it_is_used_thrice(
    compile_model: CompileModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As CUDA's autocast has it, and the CPU's has not.
    def in_fp32(states: torch.Tensor, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
        return layer_norm(states.float(), shape, weight.float(), bias.float(), eps)

    layer_norm = torch.nn.functional.layer_norm
    monkeypatch.setattr(torch.nn.functional, "layer_norm", in_fp32)
    bundle = compile_model("cogvideox-5b", "lora", *_QUICK, "training.mixed_precision=bf16")
    given = []
    with loaded(bundle, 1) as (trainer, batches):
        for block in trainer.model.transformer.transformer_blocks:
            for name in ("to_q", "to_k", "to_v"):
                layer = block.get_submodule(f"attn1.{name}")
                layer.register_forward_pre_hook(lambda _, states: given.append(states[0]))
        next(trainer.steps(batches))
    assert {tensor.dtype for tensor in given} == {torch.bfloat16}
    assert len(given) == 6
    assert len({tensor.data_ptr() for tensor in given}) == 2


@pytest.mark.train
@pytest.mark.parametrize("size", ["9x64x96", "13x96x64"])
def test_positions_are_computed_once_a_run(
    size: str, compile_model: CompileModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow = 'allow=["frames-8n-plus-1","resolution-untrained","clip-aspect","clip-upscaled"]'
    settings = (*_QUICK, f"data.resolution={size}", "training.mixed_precision=bf16", allow)
    bundle = compile_model("cogvideox-2b", "lora", *settings)
    with loaded(bundle, 1) as (trainer, batches):
        embedding = trainer.model.transformer.patch_embed
        batch = next(batches)
        _, frames, _, height, width = batch.latents.shape
        table = embedding._get_positional_embeddings(height, width, (frames - 1) * 4 + 1)
        assert torch.equal(embedding.get_buffer("pos_embedding"), table.to(torch.bfloat16))
        monkeypatch.setattr(embedding, "_get_positional_embeddings", None)
        next(trainer.steps(iter([batch])))


def _choices() -> tuple[bool, bool, bool]:
    memory: Any = torch.utils.deterministic
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        memory.fill_uninitialized_memory,
    )


def test_a_choice_of_kernels_ends_with_its_block() -> None:
    before = _choices()
    assert before == (False, False, True)
    with kernels.same_bits():
        assert _choices() == (True, False, False)
        with kernels.fastest(torch.device("cpu")):
            assert _choices() == (False, True, False)
        assert _choices() == (True, False, False)
    assert _choices() == before


@pytest.mark.train
@pytest.mark.parametrize("deterministic", [True, False])
def test_only_what_is_encoded_takes_the_same_bits_always(
    deterministic: bool,
    compile_model: CompileModel,
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, bool] = {}

    def watched(name: str, work: Any) -> Any:
        def see(*arguments: Any, **named: Any) -> Any:
            seen[name] = torch.are_deterministic_algorithms_enabled()
            return work(*arguments, **named)

        return see

    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    before = torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(encode, "encode_pixels", watched("encoded", encoders.encode_pixels))
    predict = "cvbundle.training.loop.predict"
    monkeypatch.setattr(predict, watched("trained", objective.predict))
    settings = (*_QUICK, f"training.deterministic={json.dumps(deterministic)}")
    run = train_here(compile_model("cogvideox-2b", "lora", *settings))
    assert seen == {"encoded": True, "trained": deterministic}
    assert torch.are_deterministic_algorithms_enabled() == before
    (attempt,) = json.loads((run / "run.json").read_bytes())["attempts"]
    assert (attempt["deterministic"], attempt["attention"]) == (deterministic, "flash")


@pytest.mark.parametrize(
    ("capability", "first"), [((9, 0), "CUDNN_ATTENTION"), ((8, 0), "FLASH_ATTENTION")]
)
def test_the_fastest_attention_of_a_gpu_comes_first(
    capability: tuple[int, int], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    def order() -> list[SDPBackend]:
        return [SDPBackend(each) for each in torch._C._get_sdp_priority_order()]

    before = order()
    with kernels.fastest(torch.device("cuda:0")):
        assert order()[0] == getattr(SDPBackend, first)
        # The order of the rest decides nothing for sequences that the first can take.
        assert set(order()) == set(before)
    assert order() == before


def test_a_newer_flash_attention_is_taken_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "_is_installed", lambda package: package == "flash_attn_interface")
    assert kernels._installed_flash(9) == "FA3"
    # It is written for Hopper alone.
    assert kernels._installed_flash(8) is None
    assert kernels._installed_flash(10) is None


@pytest.mark.parametrize("given", [None, "max_split_size_mb:128"])
def test_the_allocators_blocks_can_grow_unless_someone_says_otherwise(
    given: str | None, compiled: Compiled, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PYTORCH_CUDA_ALLOC_CONF"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "CVBUNDLE_DEVICE": "cpu"}
    environment.pop("PYTORCH_CUDA_ALLOC_CONF", None)
    if given is not None:
        environment["PYTORCH_CUDA_ALLOC_CONF"] = given
    command = ["bash", str(compiled.bundle.folder / "launch.sh")]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == (given or "expandable_segments:True")
