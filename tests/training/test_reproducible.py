"""The same bundle gives the same bytes, however often its run was interrupted."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from cvbundle.compiler.build import Compiled
from cvbundle.training.processes import Stopped
from tests.training.conftest import CompileDemo, StopAfter, Train, adapter, digest


@pytest.mark.train
def test_two_runs_end_with_the_same_bytes(compile_demo: CompileDemo, train_here: Train) -> None:
    bundle = compile_demo()
    first, second = train_here(bundle), train_here(bundle, "fresh")
    assert first != second
    assert digest(adapter(first)) == digest(adapter(second))
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    assert digest(first / "adapter/README.md") == digest(second / "adapter/README.md")
    sample = "samples/step-00000020-00.mp4"
    assert digest(first / sample) == digest(second / sample)


@pytest.mark.train
@pytest.mark.parametrize("looks", [1, 4, 17])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    looks: int, compile_demo: CompileDemo, train_here: Train
) -> None:
    # Dropout and a moving average have a state of their own to lose.
    bundle = compile_demo(
        "lora.dropout=0.2", "training.ema_decay=0.9", "validation.steps=10", "data.num_workers=0"
    )
    whole = train_here(bundle)
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(looks))
    run = train_here(bundle)
    assert run != whole
    assert digest(adapter(run)) == digest(adapter(whole))
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.train
def test_workers_do_not_change_the_result(compile_demo: CompileDemo, train_here: Train) -> None:
    alone = train_here(compile_demo("data.num_workers=0"))
    helped = train_here(compile_demo("data.num_workers=2"))
    assert digest(adapter(alone)) == digest(adapter(helped))


@pytest.mark.train
def test_validation_does_not_change_training(compile_demo: CompileDemo, train_here: Train) -> None:
    often = train_here(compile_demo("validation.steps=10"))
    bundle = compile_demo()
    config = json.loads((bundle / "config.json").read_bytes())
    assert config["validation"]["steps"] == 20
    assert digest(adapter(train_here(bundle))) == digest(adapter(often))


@pytest.mark.train
def test_a_cold_cache_gives_the_same_bytes_as_a_warm_one(
    compile_demo: CompileDemo,
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = compile_demo()
    warm = train_here(bundle)
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cold"))
    assert digest(adapter(train_here(bundle, "fresh"))) == digest(adapter(warm))


@pytest.mark.slow
@pytest.mark.train
def test_compiled_blocks_train_to_the_same_losses(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    quick = ("training.steps=2", "checkpointing.steps=2", "validation=null")
    plain = train_here(compile_demo(*quick))
    compiled = train_here(compile_demo(*quick, "training.compile=true"))
    rows = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (plain, compiled)
    ]
    for one, two in zip(*rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert load_file(adapter(compiled)).keys() == load_file(adapter(plain)).keys()


@pytest.mark.train
def test_a_finished_run_is_not_trained_again(compile_demo: CompileDemo, train_here: Train) -> None:
    bundle = compile_demo()
    run = train_here(bundle)
    before = (run / "run.json").read_bytes()
    assert train_here(bundle) == run
    assert (run / "run.json").read_bytes() == before


@pytest.mark.train
@pytest.mark.parametrize("moment", ["encoding", "first checkpoint", "last checkpoint", "sampling"])
def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(
    moment: str,
    compiled: Compiled,
    train_here: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle, cache = compiled.bundle, tmp_path / "cache"
    run = bundle.folder / "runs/0001"
    awaited = {
        "encoding": cache / "encodings",
        "first checkpoint": run / "checkpoints",
        "last checkpoint": run / "checkpoints/step-00000020",
        "sampling": run / "samples",
    }[moment]
    monkeypatch.setenv("CVBUNDLE_CACHE", str(cache))
    environment = {**os.environ, "PYTHON": sys.executable}
    process = subprocess.Popen(["bash", bundle.folder / "launch.sh"], env=environment)
    while not awaited.exists() and process.poll() is None:
        time.sleep(0.002)
    # Somewhere after it began: in the middle of a file, a step, a rename.
    time.sleep(random.Random(moment).random() * 0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert train_here(bundle) == run
    record = json.loads((run / "run.json").read_bytes())
    assert [attempt.get("reason") for attempt in record["attempts"]] == [None, "done"]
    whole = train_here(bundle, "fresh")
    assert digest(adapter(run)) == digest(adapter(whole))
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.train
def test_two_processes_train_what_one_does_with_twice_the_accumulation(
    demo: Path, compile_demo: CompileDemo, train_here: Train
) -> None:
    alone = train_here(
        compile_demo("training.batch_size=1", "training.gradient_accumulation_steps=2")
    )
    bundle = compile_demo("training.batch_size=1", "launch.strategy=ddp", "launch.num_processes=2")
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["bash", bundle / "launch.sh"], env=environment, check=True)
    together = bundle / "runs/0001"
    rows = [
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (alone, together)
    ]
    assert len(rows[0]) == len(rows[1]) == 20
    for one, two in zip(*rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-5)
    record = json.loads((together / "run.json").read_bytes())
    assert record["attempts"][0]["world_size"] == 2


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize("model", ["cogvideox-2b", "cogvideox-5b-i2v"])
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(model: str) -> None:
    # In a process that has not computed yet: it forks.
    command = [sys.executable, "-m", "benchmarks.kills", "5", model]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
