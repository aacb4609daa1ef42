"""Everything that only a GPU can show, in one go, with a report of it.

`just gpu`, or `python -m benchmarks.gpu`, tries the tests marked `gpu`; the five tiny models, which
train, stop and go on to the same bytes; two processes, where there are two GPUs; and cogvideox-2b
at its real size with random weights at 49x480x720, with memory and time against the estimate,
killed with SIGKILL and gone on with to the same bytes. It writes `benchmarks/results/DEVICE.md`,
and ends with 1 where a check failed.

`--device cpu --tiny` goes the same way with the tiny models alone, to try the script itself.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from attrs import frozen

from benchmarks.gpu_report import Check, Measurement, Report, file_name, render
from benchmarks.gpu_runs import Attempt, Trainer, result
from cvbundle.authoring.demo import write_demo
from cvbundle.bundle.bundle import Bundle
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.model.config_files import read_architecture
from cvbundle.model.time import step_flops, step_seconds
from cvbundle.spec.schema import TrainingType
from cvbundle.spec.tables.gpus import reported_gpu
from cvbundle.spec.tables.models import MODELS

_RESULTS = Path(__file__).parent / "results"
_GIB = 1 << 30

_STEPS = {"cuda": (100, 20), "cpu": (12, 3)}
"""Steps of a tiny model's run and from checkpoint to checkpoint: time enough for a signal."""

_RECORDED = {"encode_text": "captions", "encode_clips": "clips", "validate": "validation"}
"""A phase of the estimate to its name in `run.json`."""

_FULL_SPEC = """\
cvbundle: 1
name: full-size-2b
model: {{path: model}}
data: {{root: data, resolution: {resolution}}}
training: {{steps: {steps}, batch_size: 1}}
lora: {{rank: {rank}, alpha: 64}}
lr_scheduler: {{warmup_steps: 0}}
checkpointing: {{steps: {checkpoint}}}
tracking: {{report_to: []}}
"""


@frozen(kw_only=True)
class Trial:
    """Where and on what the checks are done."""

    folder: Path
    device: str
    kinds: tuple[tuple[str, TrainingType], ...]
    """Models and how each is trained."""
    resolution: str | None
    """Of the model of real size; None leaves it out."""
    rank: int
    steps: int
    """Of its run; a checkpoint comes after each third."""

    def trainer(self, bundle: Path) -> Trainer:
        """Runs of a bundle, with a cache that all of them share."""
        log = self.folder / "trainer.log"
        return Trainer(bundle=bundle, device=self.device, cache=self.folder / "cache", log=log)


def main(arguments: list[str] | None = None) -> int:
    """Do all checks and write the report; 1 where one failed, or there is no GPU."""
    options = _options(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        why = f"torch {torch.__version__} finds none"
        print(
            f"no NVIDIA GPU to try ({why}): --device cpu --tiny tries the script", file=sys.stderr
        )
        return 1
    models = options.model or list(MODELS)
    kinds: list[tuple[str, TrainingType]] = [(model, "lora") for model in models]
    if not options.model:
        kinds.append((models[0], "sft"))
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        trial = Trial(
            folder=Path(name),
            device=options.device,
            kinds=tuple(kinds),
            resolution=None if options.tiny else options.resolution,
            rank=options.rank,
            steps=options.steps,
        )
        report = _report(trial)
    device = device_name(options.device)
    path = options.out or _RESULTS / file_name(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(report, device), "utf-8")
    print(path)
    return int(report.failed)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="leave out the model of real size")
    parser.add_argument("--model", action="append", help="one of the tiny models, instead of all")
    parser.add_argument("--resolution", default="49x480x720", help="of the model of real size")
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="of the model of real size")
    parser.add_argument("--work", type=Path, help="where models and runs are kept meanwhile")
    parser.add_argument("--out", type=Path, help="the report's file")
    return parser.parse_args(arguments)


def device_name(device: str) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(0) if device == "cuda" else f"cpu {platform.machine()}"


def _report(trial: Trial) -> Report:
    checks: list[Check] = []
    for check in _checks(trial):
        print(f"{check.outcome}: {check.name}: {check.detail}", file=sys.stderr)
        checks.append(check)
    measurements: tuple[Measurement, ...] = ()
    if trial.resolution is None:
        checks.append(Check("2b at its real size", "skipped", "--tiny"))
    else:
        found, measurements = _full_size(trial, trial.resolution)
        checks += found
    return Report(
        machine=tuple(_machine(trial.device)), checks=tuple(checks), measurements=measurements
    )


def _machine(device: str) -> Iterator[tuple[str, str]]:
    yield "device", device_name(device)
    if device == "cuda":
        yield "GPUs", str(torch.cuda.device_count())
        yield "memory", f"{torch.cuda.get_device_properties(0).total_memory / _GIB:.1f} GiB"
        driver = Path("/sys/module/nvidia/version")
        yield "driver", driver.read_text("ascii").strip() if driver.is_file() else "not known"
        yield "CUDA of torch", str(torch.version.cuda)
    yield "torch", torch.__version__
    yield "Python", platform.python_version()
    yield "system", platform.platform()
    yield "cores", str(os.cpu_count())


def _checks(trial: Trial) -> Iterator[Check]:
    yield _marked_tests() if trial.device == "cuda" else Check("tests", "skipped", "no GPU")
    for model, kind in trial.kinds:
        # Of the first, a kill too: SIGTERM lets a run save, SIGKILL doesn't.
        signals = (signal.SIGTERM, signal.SIGKILL) if (model, kind) == trial.kinds[0] else None
        compiled = _compile_tiny(trial, model, kind, ())
        name = f"{model} {kind}, tiny"
        yield from _same_bytes(name, trial, compiled, signals or (signal.SIGTERM,))
    if trial.device == "cuda" and torch.cuda.device_count() < 2:
        yield Check("two processes", "skipped", "there is one GPU")
        return
    two = ("launch.strategy=ddp", "launch.num_processes=2", "training.batch_size=1")
    compiled = _compile_tiny(trial, *trial.kinds[0], two)
    yield from _same_bytes("two processes", trial, compiled, (signal.SIGTERM,))


def _marked_tests() -> Check:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:xdist", "tests/gpu"]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    return Check("tests marked gpu", "failed" if done.returncode else "passed", (lines or [""])[-1])


def _compile_tiny(
    trial: Trial, model: str, kind: TrainingType, settings: tuple[str, ...]
) -> Compiled:
    steps, checkpoint = _STEPS[trial.device]
    spec = write_demo(trial.folder / f"{model}-{kind}", model, kind).spec
    precision = MODELS[model].precision
    changed = (
        f"training.steps={steps}",
        f"checkpointing.steps={checkpoint}",
        f"validation.steps={steps - steps % checkpoint}",
        "data.num_workers=4",
        "tracking.report_to=[]",
        *((f"training.mixed_precision={precision}",) if trial.device == "cuda" else ()),
        *settings,
    )
    return compile_file(spec, trial.folder / "bundles", settings=changed).only


def _same_bytes(
    name: str, trial: Trial, compiled: Compiled, signals: tuple[signal.Signals, ...]
) -> Iterator[Check]:
    """Whether runs that were ended on the way and gone on with are the one that nobody touched."""
    trainer = trial.trainer(compiled.bundle.folder)
    whole = trainer.train(fresh=True)
    if whole.code or whole.run is None:
        yield Check(name, "failed", f"exit {whole.code}: {whole.said}")
        return
    for number in signals:
        yield _again(name, trainer, whole, _STEPS[trial.device][1], number)


def _again(name: str, trainer: Trainer, whole: Attempt, step: int, number: signal.Signals) -> Check:
    """Another run, ended at a step and gone on with, has the bytes of a whole one."""
    ended = trainer.train(fresh=True, until=step, number=number)
    if ended.code == 0:
        return Check(name, "failed", f"the run was over before {number.name} reached it")
    resumed = trainer.train()
    if resumed.code or resumed.run is None or whole.run is None:
        return Check(name, "failed", f"gone on with: exit {resumed.code}: {resumed.said}")
    if resumed.run.folder == whole.run.folder:
        return Check(name, "failed", "another run was gone on with")
    if result(resumed.run) != result(whole.run):
        return Check(name, "failed", "gone on with to other bytes")
    return Check(name, "passed", f"{number.name} after step {step}, then to the same bytes")


def _full_size(trial: Trial, resolution: str) -> tuple[tuple[Check, ...], tuple[Measurement, ...]]:
    from benchmarks.gpu_model import write_data, write_full_model

    folder = trial.folder / "full"
    checkpoint = max(1, trial.steps // 3)
    frames, height, width = map(int, resolution.split("x"))
    write_full_model(folder / "model")
    write_data(folder / "data", frames, height, width)
    (folder / "spec.yaml").write_text(
        _FULL_SPEC.format(
            resolution=resolution, steps=trial.steps, checkpoint=checkpoint, rank=trial.rank
        )
    )
    settings = () if trial.device == "cuda" else ("training.mixed_precision=bf16",)
    allowed = ("allow=[precision-fp16, resolution-untrained, frames-8n-plus-1]",)
    compiled = compile_file(
        folder / "spec.yaml", trial.folder / "bundles", settings=settings + allowed
    ).only
    trainer = trial.trainer(compiled.bundle.folder)
    name = f"2b at its real size, {resolution}, LoRA rank {trial.rank}"
    whole = trainer.train(fresh=True)
    estimates = [
        Measurement(
            f"memory: {phase.name}",
            phase.bytes / _GIB,
            _in_gib(whole.reserved(_RECORDED.get(phase.name, phase.name))),
            "GiB",
        )
        for phase in compiled.memory.phases
    ]
    measured = (
        Measurement(
            "memory of the whole process, CUDA context too",
            compiled.memory.peak / _GIB,
            _in_gib(whole.held),
            "GiB",
        ),
        *estimates,
        *_step_times(compiled.bundle.folder, folder / "model", whole.seconds_a_step, trial.device),
    )
    if whole.code:
        return (Check(name, "failed", f"exit {whole.code}: {whole.said}"),), measured
    trained = Check(name, "passed", f"{trial.steps} steps")
    killed = _again(f"{name}: killed", trainer, whole, checkpoint, signal.SIGKILL)
    return (trained, killed), measured


def _in_gib(size: int | None) -> float | None:
    return None if size is None else size / _GIB


def _step_times(
    bundle: Path, model: Path, measured: float | None, device: str
) -> Iterator[Measurement]:
    """Seconds a step beside the two ends of the estimate, where the device is in the table."""
    gpu = reported_gpu(device_name(device)) if device == "cuda" else None
    spec = Bundle(bundle).spec
    flops = step_flops(spec, read_architecture(model))
    estimate = gpu and step_seconds(flops, gpu, spec.training.mixed_precision)
    if not estimate:
        yield Measurement("time of a step", None, measured, "s")
        return
    for name, seconds in zip(("at least", "at most"), estimate, strict=True):
        yield Measurement(f"time of a step, {name}", seconds, measured, "s")


if __name__ == "__main__":
    sys.exit(main())
