"""The learning rate of every optimizer step is the one that diffusers' own schedule gives it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from diffusers.optimization import TYPE_TO_SCHEDULER_FUNCTION, get_scheduler

from cvbundle.spec.converter import structure_config
from cvbundle.spec.schema import SchedulerName, Spec
from cvbundle.training.optimizers import make_schedule
from cvbundle.training.processes import Stopped
from tests.training.conftest import CompileDemo, StopAfter, Train

_STEPS = 12
_RATE = 0.001


def _expected(spec: Spec) -> list[float]:
    """diffusers' rates, step by step from the first to the last."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=_RATE)
    schedule = get_scheduler(
        spec.lr_scheduler.name,
        optimizer=optimizer,
        num_warmup_steps=spec.lr_scheduler.warmup_steps,
        num_training_steps=_STEPS,
        num_cycles=spec.lr_scheduler.num_cycles,
        power=spec.lr_scheduler.power,
    )
    rates = []
    for _ in range(_STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def _bundle(compile_demo: CompileDemo, name: str, *settings: str) -> Path:
    return compile_demo(
        f"training.learning_rate={_RATE}",
        f"training.steps={_STEPS}",
        "training.batch_size=1",
        "checkpointing.steps=12",
        "validation.steps=24",
        f"lr_scheduler.name={name}",
        "lr_scheduler.warmup_steps=3",
        "lr_scheduler.num_cycles=2",
        "lr_scheduler.power=2.0",
        *settings,
    )


def _spec(bundle: Path) -> Spec:
    config = json.loads((bundle / "config.json").read_bytes())
    config["model"]["path"] = config["data"]["root"] = "-"
    return structure_config(config)


def _rates(run: Path) -> list[float]:
    return [json.loads(line)["lr"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_every_schedule_of_diffusers_that_a_few_numbers_describe_can_be_asked_for() -> None:
    known = {kind.value for kind in TYPE_TO_SCHEDULER_FUNCTION}
    # A rule for each piece would be a text of its own.
    assert set(get_args(SchedulerName)) == known - {"piecewise_constant"}


@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_a_schedule_has_diffusers_rates_from_wherever_it_goes_on(
    name: str, compile_demo: CompileDemo
) -> None:
    spec = _spec(_bundle(compile_demo, name))
    for done in range(_STEPS):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=_RATE)
        schedule = make_schedule(optimizer, spec, _STEPS, done)
        for rate in _expected(spec)[done:]:
            assert optimizer.param_groups[0]["lr"] == rate
            optimizer.step()
            schedule.step()


@pytest.mark.train
@pytest.mark.parametrize("name", ["cosine_with_restarts", "polynomial"])
def test_a_run_has_these_rates_through_a_stop(
    name: str, compile_demo: CompileDemo, train_here: Train
) -> None:
    bundle = _bundle(compile_demo, name)
    train_here(bundle)
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(5))
    run = train_here(bundle)
    assert re.search(r"continues after step \d", (run / "log.txt").read_text())
    assert _rates(run) == _expected(_spec(bundle))


@pytest.mark.slow
@pytest.mark.train
def test_a_step_is_a_step_with_accumulation_and_with_two_processes(
    compile_demo: CompileDemo, train_here: Train
) -> None:
    alone = _bundle(compile_demo, "linear", "training.gradient_accumulation_steps=2")
    together = _bundle(compile_demo, "linear", "launch.strategy=ddp", "launch.num_processes=2")
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["bash", together / "launch.sh"], env=environment, check=True)
    expected = _expected(_spec(alone))
    assert _rates(train_here(alone)) == expected
    assert _rates(together / "runs/0001") == expected
