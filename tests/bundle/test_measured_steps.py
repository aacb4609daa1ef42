"""The step times of earlier runs on a GPU are again in a store, cheaply."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cvbundle.bundle import measured_steps as module
from cvbundle.bundle.measured_steps import measured_steps
from cvbundle.bundle.run import Run
from cvbundle.comparison.description import describe
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.spec.tables.gpus import GPUS

H100 = "NVIDIA H100 80GB HBM3"


def write_run(bundle: Path, *devices: str, number: int = 1, seconds: Any = 2.0) -> Path:
    """A run whose attempts were on these devices."""
    run = bundle / f"runs/{number:04d}"
    run.mkdir()
    attempts = [{"device_name": device} for device in devices]
    (run / "run.json").write_text(json.dumps({"attempts": attempts, "seconds_a_step": seconds}))
    return run


def test_a_run_on_the_gpu_gives_a_measured_step(compiled: Compiled) -> None:
    write_run(compiled.bundle.folder, H100, H100)
    (step,) = measured_steps(compiled.bundle.folder.parent, GPUS["h100"])
    assert step.name == f"{compiled.bundle.name}/0001"
    assert step.seconds == 2
    assert step.flops == compiled.training.step_flops
    assert measured_steps(compiled.bundle.folder.parent, GPUS["4090"]) == ()


def test_a_run_on_several_kinds_of_gpu_is_left_out(compiled: Compiled) -> None:
    write_run(compiled.bundle.folder, H100, "NVIDIA H200")
    assert measured_steps(compiled.bundle.folder.parent, GPUS["h100"]) == ()


@pytest.mark.parametrize("seconds", [None, 0, "fast", float("nan"), float("inf")])
def test_a_run_without_a_measured_step_is_left_out(compiled: Compiled, seconds: object) -> None:
    write_run(compiled.bundle.folder, H100, seconds=seconds)
    assert measured_steps(compiled.bundle.folder.parent, GPUS["h100"]) == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"attempts": [1], "seconds_a_step": 1}'])
def test_a_damaged_record_is_left_out(compiled: Compiled, text: str) -> None:
    (write_run(compiled.bundle.folder, H100) / "run.json").write_text(text)
    assert measured_steps(compiled.bundle.folder.parent, GPUS["h100"]) == ()


def test_a_damaged_bundle_is_left_out(compiled: Compiled) -> None:
    write_run(compiled.bundle.folder, H100)
    for name, text in (("config.json", "{}"), ("model.json", "{")):
        copy = compiled.bundle.folder.with_name(f"{len(name):016x}")
        shutil.copytree(compiled.bundle, copy)
        (copy / name).chmod(0o644)
        (copy / name).write_text(text)
    (step,) = measured_steps(compiled.bundle.folder.parent, GPUS["h100"])
    assert step.bundle == compiled.bundle.name


def test_only_the_newest_records_of_a_large_store_are_opened(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        run = write_run(compiled.bundle.folder, H100, number=number, seconds=float(number))
        os.utime(run / "run.json", (number, number))
    opened = []

    def counted(folder: Path) -> object:
        opened.append(folder.name)
        return Run(folder)

    monkeypatch.setattr(module, "_NEWEST", 3)
    monkeypatch.setattr(module, "Run", counted)
    steps = measured_steps(compiled.bundle.folder.parent, GPUS["h100"])
    assert [step.seconds for step in steps] == [5, 4, 3]
    assert opened == ["0005", "0004", "0003"]


def test_compile_and_show_use_measured_steps(demo: Path, compiled: Compiled) -> None:
    spec, store = demo / "spec.yaml", compiled.bundle.folder.parent
    write_run(compiled.bundle.folder, H100)
    assert not compiled.training.measured_in
    again = compile_file(spec, store, settings=["launch.gpu=h100"]).only
    assert again.training.seconds == pytest.approx((2, 2))
    assert again.training.measured_in == (f"{compiled.bundle.name}/0001",)
    assert describe(again.bundle).training == again.training
