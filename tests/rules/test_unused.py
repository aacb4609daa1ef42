"""Settings that rules call unused are ignored by the trainer's optimizers and schedules."""

import json
from typing import Any, cast, get_args

import pytest
import torch
from attrs import evolve

from cvbundle.spec.converter import plain
from cvbundle.spec.schema import LrScheduler, Optimizer, SchedulerName, Spec
from cvbundle.spec.tables.optimizers import OPTIMIZERS
from cvbundle.training.optimizers import make_optimizer, make_schedule
from tests.rules.specs import check_text, spec_of, text_of

OTHER: dict[str, Any] = {"warmup_steps": 5, "num_cycles": 3, "power": 2.0}
STEPS = 20


def rates(schedule: LrScheduler) -> list[float]:
    """The learning rate of each step."""
    spec = evolve(spec_of({}), lr_scheduler=schedule)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    made = make_schedule(optimizer, spec, STEPS, 0)
    return [made.lr_lambdas[0](step) for step in range(STEPS)]


@pytest.mark.parametrize("setting", OTHER)
@pytest.mark.parametrize("name", get_args(SchedulerName))
def test_a_schedules_setting_is_unused_if_no_learning_rate_depends_on_it(
    name: SchedulerName, setting: str
) -> None:
    usual = LrScheduler(name=name, warmup_steps=10)
    resolved = check_text(
        text_of({"lr_scheduler.name": name, f"lr_scheduler.{setting}": OTHER[setting]})
    )
    unused = [
        problem.path[-1] for problem in resolved.problems if problem.rule == "schedule-unused"
    ]
    changed = rates(evolve(usual, **{setting: OTHER[setting]})) != rates(usual)
    assert unused == ([] if changed else [setting])


@pytest.mark.parametrize("setting", ["beta3", "epsilon"])
@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "adamw8bit"])
def test_an_optimizers_setting_is_unused_if_it_is_never_passed(name: str, setting: str) -> None:
    def options(optimizer: Optimizer) -> dict[str, Any]:
        weight = torch.nn.Parameter(torch.ones(2, 2))
        spec = evolve(spec_of({}), optimizer=optimizer)
        return make_optimizer([weight], spec, torch.device("cpu")).defaults

    usual, other = Optimizer(name=name), cast(Any, {setting: 0.5})
    changed = options(evolve(usual, **other)) != options(usual)
    reported = check_text(text_of({"optimizer.name": name, f"optimizer.{setting}": 0.5})).problems
    unused = [problem.path[-1] for problem in reported if problem.rule == "optimizer-unused"]
    assert unused == ([] if changed else [setting])


@pytest.mark.parametrize("schedule", get_args(SchedulerName))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_defaults_that_are_written_out_are_never_unused(
    optimizer: str, schedule: SchedulerName
) -> None:
    spec: Spec = spec_of({})
    spec = evolve(
        spec, optimizer=Optimizer(name=optimizer), lr_scheduler=LrScheduler(name=schedule)
    )
    reported = check_text(json.dumps(plain(spec))).problems
    assert not [problem for problem in reported if problem.rule.endswith("-unused")]
