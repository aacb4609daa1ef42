"""Sharded strategies train what one process does, and what they save is whole."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from cvbundle.spec.schema import TrainingType
from cvbundle.training.loop import Trainer
from cvbundle.training.processes import Stopped
from tests.training.conftest import CompileDemo, CompileModel, StopAfter, Train, adapter, result
from tests.training.test_kernels import loaded


def _launched(bundle: Path, *options: str, processes: int = 2) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "CVBUNDLE_DEVICE": "cpu",
        "CVBUNDLE_NUM_PROCESSES": str(processes),
    }
    command = ["bash", str(bundle / "launch.sh"), *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def _trained(bundle: Path, *options: str, processes: int = 2) -> None:
    process = _launched(bundle, *options, processes=processes)
    _, said = process.communicate()
    assert process.returncode == 0, said


def _assert_same_losses(one: Path, other: Path, *, rel: float = 1e-6) -> None:
    runs = (one, other)
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in runs]
    assert len(lines[0]) == len(lines[1]) > 0
    for left, right in zip(*(map(json.loads, each) for each in lines), strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=rel)
        assert right["grad_norm"] == pytest.approx(left["grad_norm"], rel=10 * rel)
        assert right["lr"] == left["lr"]


@pytest.mark.train
def test_an_adapter_of_a_sharded_model_is_what_one_process_trains(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    common = ("training.batch_size=1", "training.ema_decay=0.9")
    alone = train_here(compile_demo(*common, "training.gradient_accumulation_steps=4"))
    shared = ("launch.strategy=fsdp", "launch.num_processes=2")
    bundle = compile_demo(*common, *shared, "training.gradient_accumulation_steps=2")
    _trained(bundle)
    run = bundle / "runs/0001"
    _assert_same_losses(alone, run)
    weights, expected = load_file(adapter(run)), load_file(adapter(alone))
    assert set(weights) == set(expected)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    videos = [path / "samples/step-00000020-00.mp4" for path in (run, alone)]
    assert all(video.is_file() for video in videos)
    scores = [(path / "evaluation.jsonl").read_text().splitlines() for path in (run, alone)]
    for ours, theirs in zip(*(map(json.loads, each) for each in scores), strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.train
def test_a_sharded_run_that_is_stopped_ends_with_the_same_bytes_and_goes_on_alone_too(
    compile_model: CompileModel, tmp_path: Path
) -> None:
    bundle = compile_model(
        "cogvideox-5b-i2v",
        "sft",
        "launch.strategy=zero2",
        "launch.num_processes=2",
        "training.batch_size=1",
        "training.ema_decay=0.9",
        "training.image_noise=null",
        "training.steps=8",
        "checkpointing.steps=4",
        "validation.steps=8",
    )
    _trained(bundle)
    process = _launched(bundle, "--fresh")
    assert process.stderr is not None
    for line in process.stderr:
        if "evaluation after step 0" in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 130
    whole, run = bundle / "runs/0001", bundle / "runs/0002"
    (saved,) = (run / "checkpoints").iterdir()
    assert saved.name < "step-00000008"
    _trained(bundle)
    assert result(run) == result(whole)
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    CogVideoXTransformer3DModel.from_pretrained(run / "transformer")
    # What is saved doesn't say how many wrote it: one process goes on as well.
    third = bundle / "runs/0003"
    (third / "checkpoints").mkdir(parents=True)
    (whole / "checkpoints/step-00000004").rename(third / "checkpoints/step-00000004")
    (third / "metrics.jsonl").write_bytes((whole / "metrics.jsonl").read_bytes())
    _trained(bundle, processes=1)
    _assert_same_losses(whole, third)


@pytest.mark.train
@pytest.mark.parametrize("strategy", ["zero2-offload", "zero3", "zero3-offload"])
def test_one_process_that_shares_with_nobody_is_the_same_too(
    strategy: str,
    compile_demo: CompileDemo,
    train_here: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is kept in host memory would be taken to the device: 44.6 GB for all of a 5b.
    monkeypatch.setattr("accelerate.optimizer.move_to_device", pytest.fail)
    quick = ("training.steps=6", "checkpointing.steps=3", "validation.steps=6")
    alone = train_here(compile_demo(*quick))
    bundle = compile_demo(*quick, f"launch.strategy={strategy}")
    with pytest.raises(Stopped):
        train_here(bundle, stop=StopAfter(3))
    _assert_same_losses(alone, train_here(bundle))


@pytest.mark.train
@pytest.mark.parametrize(
    ("model", "kind"), [("cogvideox-5b-i2v", "sft"), ("cogvideox1.5-5b-i2v", "lora")]
)
def test_in_bf16_a_sharded_model_computes_what_a_whole_one_does(
    model: str, kind: TrainingType, compile_model: CompileModel, train_here: Train
) -> None:
    quick = (
        "training.mixed_precision=bf16",
        "training.gradient_checkpointing=true",
        "training.steps=3",
        "checkpointing.steps=3",
        "validation.steps=3",
    )
    alone = train_here(compile_model(model, kind, *quick))
    sharded = train_here(compile_model(model, kind, *quick, "launch.strategy=zero3"))
    _assert_same_losses(alone, sharded, rel=1e-3)


@pytest.mark.train
@pytest.mark.parametrize("strategy", ["zero2", "zero3-offload"])
def test_no_process_keeps_whole_gradients_between_micro_steps(
    strategy: str, compile_demo: CompileDemo, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compile_demo(
        f"launch.strategy={strategy}",
        "training.gradient_accumulation_steps=3",
        "training.batch_size=1",
    )
    shared = []
    with loaded(bundle, 1) as (trainer, batches):
        backward = trainer._backward

        def watched(_: Trainer, loss: torch.Tensor) -> None:
            backward(loss)
            gradients = [parameter.grad for parameter in trainer.trained.values()]
            shared.append(all(isinstance(gradient, DTensor) for gradient in gradients))

        monkeypatch.setattr(Trainer, "_backward", watched)
        next(trainer.steps(batches))
    assert shared == [True, True, True]
