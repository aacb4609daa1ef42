"""A bundle trains on a GPU: nothing is left on the host, and nothing stays on the device too long.

The GPU is a simulated one (tests/training/simgpu), so this is shown on every machine.
"""

import gc
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import torch
from attrs import Factory, define, frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.files.encodings import entries_folder
from cvbundle.problems import UserError
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.models import MODELS
from cvbundle.training import device, fill, loader, sample, stored, train, validate
from cvbundle.training.cache import EncodingCache
from cvbundle.training.encode import Encoder
from cvbundle.training.job import read_job
from cvbundle.training.loop import Trainer
from cvbundle.training.processes import Stopped
from cvbundle.training.record import Record
from cvbundle.training.samples import sample_source
from tests.training.conftest import CompileModel, StopAfter, Train, result
from tests.training.simgpu import MEMORY, TRAFFIC, Copy

Alive = dict[str, int]


class Demo(NamedTuple):
    """A model and how it is trained."""

    model: str
    kind: TrainingType


DEMOS = [Demo(model, kind) for model in MODELS for kind in get_args(TrainingType)]
QUICK = {Demo("cogvideox-2b", "lora"), Demo("cogvideox1.5-5b-i2v", "sft")}
"""The demos that are trained each time: without and with images, rotary embeddings and padding."""

AS_ON_A_GPU = (
    "training.mixed_precision=bf16",
    "training.gradient_checkpointing=true",
    "data.num_workers=4",
    "training.steps=4",
    "checkpointing.steps=2",
    "validation.steps=4",
    "validation.num_inference_steps=2",
)

_every_demo = pytest.mark.parametrize(
    "demo",
    [pytest.param(demo, marks=() if demo in QUICK else pytest.mark.slow) for demo in DEMOS],
    ids="-".join,
)


@define
class Seen:
    """What was on the device during a training, and when the host waited."""

    phases: list[tuple[str, Alive, Alive]] = Factory(list)
    """Name, what was alive when it began, and when it had ended."""
    freed: list[tuple[str, Alive]] = Factory(list)
    """What was still alive when memory was given back, and after which phase."""
    written: list[set[str]] = Factory(list)
    """Whose memory was alive whenever an encoding was written."""
    peaks: dict[str, int] = Factory(dict)
    """The most bytes of each phase."""
    waits: dict[int, list[str]] = Factory(dict)
    """The lines at which the host waited, by step."""
    copies: list[Copy] = Factory(list)
    """Those of the steps."""
    weights: int = 0
    """Bytes of the transformer that is trained."""
    tables: int = 0
    """Bytes of its rotary embedding, whose size is that of the video."""

    def began(self, name: str) -> Alive:
        """What was alive when a phase began for the last time."""
        return [alive for phase, alive, _ in self.phases if phase == name][-1]

    def ended(self, name: str) -> Alive:
        """The same for its end."""
        return [alive for phase, _, alive in self.phases if phase == name][-1]


@frozen
class Trained:
    """A demo's bundle and its first run."""

    bundle: Path
    run: Path
    cache: Path
    seen: Seen


@pytest.fixture
def seen(simgpu: None, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The training of a test, watched."""
    found = Seen()
    phase, steps, free, write = Record.phase, Trainer.steps, device.free, EncodingCache.write

    @contextmanager
    def watched_phase(record: Record, name: str) -> Iterator[None]:
        before = MEMORY.by_owner(0)
        MEMORY.peak[0] = MEMORY.allocated[0]
        with phase(record, name):
            yield
        found.peaks[name] = max(found.peaks.get(name, 0), MEMORY.peak[0])
        found.phases.append((name, before, MEMORY.by_owner(0)))

    def watched_steps(trainer: Trainer, batches: Any, stop: Any) -> Iterator[Any]:
        transformer = trainer.model.transformer
        tensors = (*transformer.parameters(), *transformer.buffers())
        found.weights = sum(tensor.nbytes for tensor in tensors)
        found.tables = sum(table.nbytes for table in trainer.model.rotary or ())
        following = steps(trainer, batches, stop)
        while True:
            waits, copies = len(TRAFFIC.syncs), len(TRAFFIC.copies)
            rows = next(following, None)
            if rows is None:
                return
            found.waits[trainer.step] = [sync.place for sync in TRAFFIC.syncs[waits:]]
            found.copies += [copy for copy in TRAFFIC.copies[copies:] if copy.to == "device"]
            yield rows

    def watched_free(where: torch.device) -> None:
        found.freed.append((found.phases[-1][0], MEMORY.by_owner(0)))
        free(where)

    def watched_write(cache: EncodingCache, key: str, encoding: torch.Tensor) -> None:
        found.written.append(set(MEMORY.by_owner(0)))
        write(cache, key, encoding)

    monkeypatch.setattr(Record, "phase", watched_phase)
    monkeypatch.setattr(Trainer, "steps", watched_steps)
    monkeypatch.setattr(EncodingCache, "write", watched_write)
    # As small beside a demo's weights as the real one is beside a real model's.
    monkeypatch.setattr(stored, "_BUFFER", 1 << 13)
    for module in (fill, train, validate):
        monkeypatch.setattr(module, "free", watched_free)
    return found


@pytest.fixture
def _validated_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo is evaluated on one sample at two timesteps."""
    monkeypatch.setattr(validate, "EVALUATED", 1)
    monkeypatch.setattr(validate, "QUANTILES", (0.3, 0.7))


@pytest.fixture(scope="module")
def known() -> dict[Demo, Trained]:
    """The demos that are trained already."""
    return {}


@pytest.fixture
def trained(
    known: dict[Demo, Trained],
    compile_model: CompileModel,
    train_on_simgpu: Train,
    seen: Seen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    _validated_quickly: None,
) -> Callable[[Demo], Trained]:
    """A demo's bundle, trained without a stop from an empty cache, and what was seen of it."""

    def of(demo: Demo) -> Trained:
        if demo not in known:
            cache = tmp_path / "cache"
            monkeypatch.setenv("CVBUNDLE_CACHE", str(cache))
            bundle = compile_model(*demo, *AS_ON_A_GPU)
            known[demo] = Trained(bundle, train_on_simgpu(bundle), cache, seen)
        return known[demo]

    return of


@pytest.mark.train
@_every_demo
def test_only_what_a_phase_needs_is_on_the_device(
    demo: Demo, trained: Callable[[Demo], Trained]
) -> None:
    seen = trained(demo).seen

    # One after another, each gone before its memory is given back.
    assert [name for name, alive in seen.freed[:2] if not alive] == ["captions", "clips"]
    assert [seen.began(name) for name in ("verify", "captions", "clips", "load")] == 4 * [{}]
    assert seen.written[:5] == 5 * [{"text encoder", "other"}]
    assert len(seen.written) > 5
    assert all({"VAE"} <= owners <= {"VAE", "other"} for owners in seen.written[5:])

    needed = {"transformer": seen.weights, "other": seen.ended("load")["other"]}
    if demo.model.endswith("i2v"):
        needed["VAE"] = seen.ended("load")["VAE"]
    assert seen.ended("load") == needed
    # Nothing is there twice, not even on the way.
    assert needed["other"] < seen.tables + 0.02 * seen.weights
    assert seen.peaks["load"] <= sum(needed.values()) + 0.1 * seen.weights

    optimizer = seen.ended("checkpoint")["optimizer"]
    assert seen.ended("checkpoint").keys() == {*needed, "optimizer"}
    assert seen.ended("validation") == seen.began("validation")
    if demo.kind == "sft":
        assert optimizer == pytest.approx(2 * seen.weights, rel=0.1)

    # The pipeline's VAE is gone when a video is made, and what the steps needed after the last.
    sampled, last = [alive for _, alive in seen.freed[2:]]
    assert sampled.get("VAE") == needed.get("VAE")
    assert last.keys() == {"transformer", "other"}

    del needed["other"]
    needed.pop("VAE", None)
    for alive in (seen.began("export"), seen.ended("export")):
        assert alive["other"] < seen.tables + 0.02 * seen.weights
        assert {name: size for name, size in alive.items() if name != "other"} == needed


@pytest.mark.train
@_every_demo
def test_a_stopped_run_goes_on_to_the_same_bytes_and_exports(
    demo: Demo,
    trained: Callable[[Demo], Trained],
    train_on_simgpu: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = trained(demo)
    monkeypatch.setenv("CVBUNDLE_CACHE", str(before.cache))
    with pytest.raises(Stopped, match="after step 1"):
        train_on_simgpu(before.bundle, "fresh", StopAfter(0))
    run = train_on_simgpu(before.bundle)
    assert run != before.run
    assert result(run) == result(before.run)
    for name in ("metrics.jsonl", "evaluation.jsonl", "samples/step-00000004-00.mp4"):
        assert (run / name).read_bytes() == (before.run / name).read_bytes()
    attempt = json.loads((run / "run.json").read_bytes())["attempts"][0]
    assert (attempt["device"], attempt["device_name"]) == ("simgpu:0", "Simulated GPU 0")


@pytest.mark.train
@pytest.mark.usefixtures("_validated_quickly")
@pytest.mark.parametrize(
    ("model", "settings", "tensors"),
    [
        # Latents, noise, timestep, caption; with an image, its draw, and whether it is shown.
        ("cogvideox-5b", (), 4),
        ("cogvideox1.5-5b-i2v", ("training.image_dropout=0.5",), 7),
    ],
)
def test_a_step_waits_for_nothing_and_its_batch_comes_from_pinned_memory(
    model: str,
    settings: tuple[str, ...],
    tensors: int,
    compile_model: CompileModel,
    train_on_simgpu: Train,
    seen: Seen,
) -> None:
    # What a step can have to do: images with noise on them, padding, rotary embeddings, ofs, ...
    bundle = compile_model(
        model,
        "lora",
        *AS_ON_A_GPU,
        *settings,
        "training.steps=11",
        "checkpointing.steps=11",
        "validation.steps=22",
        "training.batch_size=1",
        "training.ema_decay=0.9",
        "training.snr_gamma=5.0",
        "lora.dropout=0.1",
    )
    train_on_simgpu(bundle)
    # accelerate reads it, and would give an accelerator made later in this process this device.
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ
    assert [step for step, places in seen.waits.items() if places] == [10, 11]
    assert len(seen.waits[10]) == 1, seen.waits[10]
    assert len(seen.copies) == 11 * tensors
    assert all(copy.pinned and copy.non_blocking for copy in seen.copies)


@pytest.mark.train
def test_workers_pin_memory_for_the_device_of_their_process(
    trained: Callable[[Demo], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(Demo("cogvideox-2b", "lora"))
    job = read_job(Bundle(run.bundle), run.run, "simgpu", 1)
    encoder = Encoder(job, EncodingCache(entries_folder(run.cache)))
    source = sample_source(job, encoder)
    MEMORY.pinned_for.clear()
    second = torch.device("simgpu", 1)
    batches = loader.batches(source, iter([range(1), range(1, 2)]), second)
    assert all(batch.latents.is_pinned() for batch in batches)
    # A GPU's context would be made on the first one otherwise, and hold some memory of it.
    assert set(MEMORY.pinned_for) == {1}

    # One that isn't pinned is not left to itself: it may be gone before it is there.
    TRAFFIC.copies.clear()
    assert all(tensor.device == second for tensor in source.fixed(0, 1).to(second).tensors)
    assert TRAFFIC.copies
    assert not any(copy.non_blocking for copy in TRAFFIC.copies)

    def refused(_: object) -> None:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be ...")

    monkeypatch.setattr(torch.get_device_module("simgpu"), "set_device", refused)
    with pytest.raises(UserError, match=r"can't use simgpu:1 \(CUDA error: out of memory\): set"):
        next(loader.batches(source, iter([range(1)]), second))


@pytest.mark.train
def test_a_sample_is_made_on_the_device_of_its_process_without_the_text_encoder(
    trained: Callable[[Demo], Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(Demo("cogvideox-2b", "lora"))
    output = tmp_path / "sample.mp4"
    arguments = {"bundle": run.bundle, "run": run.run, "output": output, "prompt": "A red square."}
    told = [f"--{name}={value}" for name, value in arguments.items()]
    monkeypatch.setattr("sys.argv", ["sample", *told, "--seed=0", "--steps=1"])
    monkeypatch.setenv("CVBUNDLE_DEVICE", "simgpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    freed: list[Alive] = []
    monkeypatch.setattr(sample, "free", lambda where: freed.append(MEMORY.by_owner(where.index)))
    gc.collect()
    MEMORY.restart()
    first = MEMORY.allocated[0]
    assert sample.main() == 0
    assert output.is_file()
    assert MEMORY.peak == {0: first, 1: MEMORY.peak[1]}
    assert [alive.keys() for alive in freed] == [{"other"}]
