"""A rehearsal holds what the real step holds, and the estimate gives what the rehearsal finds."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import attrs
import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from cvbundle.bundle.bundle import Bundle
from cvbundle.execution.rehearsal import rehearse_bundle
from cvbundle.model.identify import BaseModel, named
from cvbundle.model.memory import GIB, estimate
from cvbundle.model.time import checkpoint_bytes, step_flops
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment
from cvbundle.spec.schema import Resolution, Spec, TrainingType
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.gpus import GPUS
from cvbundle.spec.tables.models import MODELS
from cvbundle.training import checkpoint, fake_run
from cvbundle.training import rehearse as rehearsing
from cvbundle.training.cuda_autocast import cuda_autocast
from cvbundle.training.fake_run import Rehearsal
from cvbundle.training.live_bytes import LiveBytes, flash_splits
from cvbundle.training.rehearse import rehearse
from tests.conftest import COMMIT
from tests.rules.specs import spec_of
from tests.training.conftest import CompileDemo, CompileModel

H100 = GPUS["h100"].processors


@pytest.fixture(autouse=True)
def _own_accelerator() -> None:
    _forget_accelerator()


def _forget_accelerator() -> None:
    """Each rehearsal has an accelerator of its precision, as in a process of its own."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def training_of(spec: Spec, architecture: Architecture) -> Rehearsal:
    """The rehearsal of a step."""
    _forget_accelerator()
    return rehearse(spec, architecture, H100, whole=False)


def settings_of(model: str, **settings: object) -> Spec:
    """A spec of a model at its own size."""
    known = MODELS.get(model)
    assert known is not None
    changes = {name.replace("__", "."): value for name, value in settings.items()}
    return spec_of({"model.path": known.hub_ids[0], **changes})


def shallow(model: str, layers: int | None) -> BaseModel:
    """A model with so many blocks; as many as it has, if None."""
    found = named(model)
    assert found is not None
    if layers is None:
        return found
    transformer = attrs.evolve(found.architecture.transformer, num_layers=layers)
    return attrs.evolve(
        found, architecture=attrs.evolve(found.architecture, transformer=transformer)
    )


def check_estimate(spec: Spec, model: BaseModel) -> None:
    """Memory, arithmetic and checkpoints of training are within 5 % of the rehearsal's."""
    found = training_of(spec, model.architecture)
    expected = estimate(spec, model)
    allocated: dict[str, int] = {each.name: each.allocated for each in expected.phases}
    *training, checkpoint = found.phases
    for phase in training:
        assert allocated[phase.name] == pytest.approx(phase.bytes, rel=0.05)
    assert step_flops(spec, model.architecture) == pytest.approx(found.step_flops, rel=0.05)
    assert checkpoint_bytes(spec, model.architecture) == pytest.approx(checkpoint.disk, rel=0.05)


@pytest.mark.parametrize(("model", "kind"), [("cogvideox-5b-i2v", "lora"), ("cogvideox-2b", "sft")])
def test_fake_tensors_hold_what_real_ones_hold(
    model: str, kind: TrainingType, compile_model: CompileModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model's real step on the CPU, followed in the same way, has the same peaks."""
    bundle = compile_model(model, kind, "training.gradient_checkpointing=true")
    opened = Bundle(bundle)
    spec, architecture = opened.spec, opened.model.architecture
    fake = training_of(spec, architecture)
    monkeypatch.setattr(fake_run, "FakeTensorMode", lambda **_: nullcontext())
    assert training_of(spec, architecture) == fake


@pytest.mark.parametrize("kind", ["lora", "sft"])
@pytest.mark.parametrize("checkpointing", [True, False, "selective"])
def test_the_estimate_of_a_shallow_model_is_the_rehearsals(
    kind: TrainingType, checkpointing: bool | str
) -> None:
    spec = settings_of(
        "cogvideox-2b", training__type=kind, training__gradient_checkpointing=checkpointing
    )
    check_estimate(spec, shallow("cogvideox-2b", 3))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["lora", "sft"])
@pytest.mark.parametrize("checkpointing", [True, False, "selective"])
@pytest.mark.parametrize("batch", [1, 4])
def test_the_estimate_is_the_rehearsals(
    model: str, kind: TrainingType, checkpointing: bool | str, batch: int
) -> None:
    """Six blocks of each: both are linear in their number, which the next test tries."""
    spec = settings_of(
        model,
        training__type=kind,
        training__gradient_checkpointing=checkpointing,
        training__batch_size=batch,
    )
    check_estimate(spec, shallow(model, 6))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "sft"])
def test_the_estimate_of_a_whole_model_is_the_rehearsals(kind: TrainingType) -> None:
    check_estimate(settings_of("cogvideox-5b", training__type=kind), shallow("cogvideox-5b", None))


def test_a_device_that_the_environment_names_changes_no_rehearsal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On another device accelerate's autocast would leave the fake tensors as they are."""
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "simgpu:0")
    check_estimate(settings_of("cogvideox-2b"), shallow("cogvideox-2b", 2))
    assert os.environ["ACCELERATE_TORCH_DEVICE"] == "simgpu:0"


def test_batches_of_a_step_are_counted() -> None:
    spec = settings_of("cogvideox-2b", training__gradient_accumulation_steps=4)
    check_estimate(spec, shallow("cogvideox-2b", 2))


def test_an_adapter_of_the_feed_forward_keeps_its_inputs() -> None:
    spec = settings_of("cogvideox-2b", lora__target_modules=["to_q", "ff.net.0.proj", "ff.net.2"])
    check_estimate(spec, shallow("cogvideox-2b", 2))


def test_a_checkpoint_with_an_average_takes_a_third_more() -> None:
    spec = settings_of("cogvideox-2b", training__ema_decay=0.99)
    check_estimate(spec, shallow("cogvideox-2b", 2))


def test_a_checkpoint_takes_the_host_and_the_disk_and_nothing_more_of_the_device() -> None:
    """Its page-locked copies are rounded up to powers of two, of which LoRA's weights are three."""
    spec = settings_of("cogvideox-5b", lora__rank=128)
    *_, step, saved = training_of(spec, shallow("cogvideox-5b", 2).architecture).phases
    assert saved.name == "checkpoint"
    assert saved.bytes < step.bytes
    assert saved.of["gradients"] == 0
    assert saved.of["weights"] + saved.of["optimizer"] == step.of["weights"] + step.of["optimizer"]
    assert saved.host == pytest.approx(saved.disk * 4 / 3, rel=0.01)


def test_what_a_checkpoint_is_said_to_take_is_what_is_written(
    compile_model: CompileModel, tmp_path: Path
) -> None:
    bundle = compile_model("cogvideox-2b", "lora")
    opened = Bundle(bundle)
    run = fake_run.FakeRun(opened.spec, opened.model.architecture, LiveBytes(1))
    run._fake = nullcontext()  # type: ignore[assignment]
    with cuda_autocast():
        trainer = run._train()
    saved = checkpoint.save(tmp_path, trainer.state(), limit=None)
    written = sum(path.stat().st_size for path in saved.iterdir() if path.name != "SHA256SUMS")
    assert checkpoint.size_on_disk(trainer.state()) == written


def test_what_does_not_fit_is_one_sentence() -> None:
    """Learned positions of another size are refused by diffusers itself."""
    spec = settings_of("cogvideox-5b-i2v")
    other = attrs.evolve(spec, data=attrs.evolve(spec.data, resolution=Resolution(49, 256, 256)))
    with pytest.raises(UserError, match=r"the train phase fails: .+"):
        training_of(other, shallow("cogvideox-5b-i2v", 1).architecture)


def test_a_device_with_more_processors_sums_in_more_parts() -> None:
    assert flash_splits(GPUS["h100"].processors, 1, 48) == 3
    assert flash_splits(GPUS["3060-12"].processors, 1, 48) == 1


def without_weights(bundle: Path) -> Path:
    """A bundle that knows no model and no clips on this machine."""
    for path in (bundle / "local").iterdir():
        path.unlink()
    return bundle


def test_all_phases_need_no_weights(
    compile_model: CompileModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = without_weights(compile_model("cogvideox1.5-5b-i2v", "lora"))
    options = ["-", f"--bundle={bundle}", f"--processors={H100}"]
    monkeypatch.setattr(sys, "argv", options)
    assert rehearsing.main() == 0
    phases = json.loads(capsys.readouterr().out)["phases"]
    names = [phase["name"] for phase in phases]
    assert names == ["encode_text", "encode_clips", "train", "step", "checkpoint", "validate"]
    assert all(sum(phase["of"].values()) == phase["bytes"] for phase in phases)


@pytest.mark.slow
def test_the_command_rehearses_in_a_process_of_its_own(compile_model: CompileModel) -> None:
    bundle = without_weights(compile_model("cogvideox1.5-5b-i2v", "lora"))
    found = rehearse_bundle(Bundle(bundle), GPUS["4090"])
    assert len(found.phases) == 6
    assert all(sum(phase.of.values()) == phase.bytes for phase in found.phases)
    assert found.step_flops > 0


@pytest.mark.slow
def test_a_rehearsal_that_fails_is_the_trainer_s_sentence(compile_model: CompileModel) -> None:
    bundle = compile_model("cogvideox-2b", "lora")
    (bundle / "config.json").unlink()
    with pytest.raises(UserError, match=r"^[^\n]*config\.json can't be read \(No such file"):
        rehearse_bundle(Bundle(bundle), GPUS["4090"])


_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Runs a command, and prints the most memory that it had, in KiB, behind what it prints."""


@pytest.mark.slow
def test_5b_at_its_real_size_is_rehearsed_in_two_gib_of_host_memory(
    compile_demo: CompileDemo,
) -> None:
    bundle = compile_demo(
        "model.path=THUDM/CogVideoX-5b",
        f"model.revision={COMMIT}",
        "data.resolution=49x480x720",
        "data.short_clips=repeat_last",
        "training.mixed_precision=bf16",
        "training.batch_size=1",
        "training.gradient_checkpointing=true",
        "lora.rank=128",
    )
    options = f"--bundle={bundle}", f"--processors={H100}"
    command = module_command("cvbundle.training.rehearse", *options)
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command],
        env=safe_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found, most = result.stdout.splitlines()
    assert int(most) < 2 * 1024**2
    peaks = {phase["name"]: phase["bytes"] / GIB for phase in json.loads(found)["phases"]}
    assert peaks["train"] == pytest.approx(18.8, rel=0.02)
