"""What a run measures of itself is in its record."""

import json

from cvbundle.training.measured import StepClock
from tests.training.conftest import CompileDemo, Train


def test_a_step_takes_what_passed_between_two_waits() -> None:
    """Steps that are only handed over are short, and the one that waits has their time."""
    clock = StepClock()
    for _ in range(3):
        clock.add(0.1, waited=False)
        clock.add(1.9, waited=True)
    assert clock.median == 1.0


def test_the_first_steps_warm_up() -> None:
    clock = StepClock()
    for seconds in (60.0, 2.0, 3.0):
        clock.add(seconds, waited=True)
    assert clock.median == 2.5


def test_a_run_records_seconds_a_step(compile_demo: CompileDemo, train_here: Train) -> None:
    run = train_here(
        compile_demo("training.steps=2", "checkpointing.steps=1", "validation.steps=2")
    )
    record = json.loads((run / "run.json").read_bytes())
    assert 0 < record["seconds_a_step"] < record["phases"]["train"]
    assert "peak_memory" not in record
