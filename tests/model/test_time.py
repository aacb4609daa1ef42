"""The estimate of time is arithmetic over a rate, as a range."""

from typing import Any

import attrs
import pytest

from cvbundle.model.identify import named
from cvbundle.model.time import (
    MeasuredStep,
    TrainingEstimate,
    checkpoint_bytes,
    estimate_training,
    kept_checkpoints,
    render_training,
    step_flops,
)
from cvbundle.spec.tables.gpus import GPUS
from tests.rules.specs import check_text, spec_of, text_of

FIVE_B = {"model.path": "THUDM/CogVideoX-5b"}


def test_a_step_of_5b_is_what_its_products_add_up_to() -> None:
    """1,258.9 TFLOP at 49x480x720, rank 128, as torch counts them in a rehearsal."""
    model = named("cogvideox-5b")
    assert model is not None
    assert step_flops(spec_of(FIVE_B), model.architecture) / 1e12 == pytest.approx(1259, rel=0.01)


def test_an_h100_takes_four_to_five_seconds_for_it() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    found = estimate_training(spec_of({**FIVE_B, "launch.gpu": "h100"}), model.architecture, 4)
    assert found.seconds == pytest.approx((3.86, 5.30), rel=0.01)
    assert found.hours == pytest.approx((1.07, 1.47), rel=0.01)
    assert "3.9 to 5.3 s on H100 SXM 80 GB" in render_training(found)


def test_a_device_without_the_type_says_so() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    spec = spec_of({**FIVE_B, "launch.gpu": "t4", "allow": ["memory"]})
    found = estimate_training(spec, model.architecture, 4)
    assert found.seconds is None
    assert "no arithmetic" in render_training(found)


def test_without_a_device_there_is_no_time() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    found = estimate_training(spec_of(FIVE_B), model.architecture, 4)
    assert found.hours is None
    assert "5 of 1.5 GiB" in render_training(found)


def on_an_h100(*earlier: MeasuredStep) -> TrainingEstimate:
    model = named("cogvideox-5b")
    assert model is not None
    spec = spec_of({**FIVE_B, "launch.gpu": "h100"})
    return estimate_training(spec, model.architecture, 4, earlier)


def measured(seconds: float, share: float = 1.0, **other: Any) -> MeasuredStep:
    """A step of 5b, with so much of its arithmetic."""
    step = MeasuredStep(
        bundle="2802c1f0a9d3e4b5",
        run="0001",
        seconds=seconds,
        flops=round(share * on_an_h100().step_flops),
        precision="bf16",
        deterministic=True,
        strategy="single",
    )
    return attrs.evolve(step, **other)


def test_what_runs_measured_takes_the_place_of_the_range() -> None:
    found = on_an_h100(measured(4.4), measured(4.6, run="0002"), measured(1.0, share=0.5))
    assert found.seconds == (4.4, 4.6)
    assert not found.scaled
    text = render_training(found)
    assert "4.4 to 4.6 s on H100 SXM 80 GB (measured in 2802c1f0a9d3e4b5/0001 and 1 other" in text


def test_other_steps_are_scaled_by_their_arithmetic() -> None:
    found = on_an_h100(measured(2.5, share=0.5))
    assert found.seconds == pytest.approx((5.0, 5.0))
    assert "5 s on H100 SXM 80 GB (measured in 2802c1f0a9d3e4b5/0001, scaled by arithmetic)" in (
        render_training(found)
    )


@pytest.mark.parametrize(
    "other",
    [
        measured(9.0, precision="fp16"),
        measured(9.0, deterministic=False),
        measured(9.0, strategy="ddp"),
        measured(9.0, share=0.2),
        measured(9.0, share=5.0),
    ],
)
def test_what_is_not_comparable_leaves_the_range(other: MeasuredStep) -> None:
    assert on_an_h100(other) == on_an_h100()


def test_a_checkpoint_is_weights_and_two_moments() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    assert checkpoint_bytes(spec_of(FIVE_B), model.architecture) == 12 * 132_120_576


def test_only_the_newest_checkpoints_are_kept() -> None:
    assert kept_checkpoints(spec_of({"checkpointing.steps": 200}), 1000) == 5
    assert kept_checkpoints(spec_of({"checkpointing.steps": 10}), 1000) == 10
    assert kept_checkpoints(spec_of({"checkpointing.limit": None}), 1001) == 6


def test_a_gpu_gives_the_memory_that_has_to_do() -> None:
    """Its row's, unless the spec says what the device really has."""
    assert spec_of({"launch.gpu": "4090"}).launch.memory_gib == GPUS["4090"].memory_gib
    assert spec_of({"launch.gpu": "4090", "launch.gpu_memory_gib": 48}).launch.memory_gib == 48
    assert spec_of({}).launch.memory_gib is None


def test_what_does_not_fit_on_a_gpu_is_said_at_its_name() -> None:
    text = text_of({"model.path": "THUDM/CogVideoX-5b", "launch.gpu": "t4"})
    (found,) = [p for p in check_text(text).problems if p.rule == "memory"]
    assert found.path == ("launch", "gpu")


def test_an_unknown_gpu_is_answered_with_the_nearest() -> None:
    (found,) = check_text(text_of({"launch.gpu": "a100-800"})).problems
    assert found.rule == "value-choice"
    assert "a100-80" in found.hint


def test_a_gpu_whose_name_is_a_number_has_to_be_in_quotes() -> None:
    (found,) = check_text(text_of({"launch.gpu": 4090})).problems
    assert found.replacement == '"4090"'
