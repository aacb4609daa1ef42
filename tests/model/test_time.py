"""The estimate of time is arithmetic over a rate, as a range."""

import pytest

from cvbundle.model.identify import named
from cvbundle.model.time import (
    checkpoint_bytes,
    estimate_time,
    kept_checkpoints,
    render_time,
    step_flops,
)
from cvbundle.spec.gpus import GPUS
from tests.rules.specs import spec_of

FIVE_B = {"model.path": "THUDM/CogVideoX-5b"}


def test_a_step_of_5b_is_what_its_products_add_up_to() -> None:
    """1,258.9 TFLOP at 49x480x720, rank 128, as torch counts them in a rehearsal."""
    model = named("cogvideox-5b")
    assert model is not None
    assert step_flops(spec_of(FIVE_B), model.architecture) / 1e12 == pytest.approx(1259, rel=0.01)


def test_an_h100_takes_four_to_five_seconds_for_it() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    found = estimate_time(spec_of(FIVE_B), model.architecture, GPUS["h100"], 1000)
    assert found.seconds == pytest.approx((3.86, 5.30), rel=0.01)
    assert found.hours == pytest.approx((1.07, 1.47), rel=0.01)
    assert render_time(found).startswith("3.9 to 5.3 s a step on H100 SXM 80 GB, 1.1 to 1.5 h")


def test_a_device_without_the_type_says_so() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    found = estimate_time(spec_of(FIVE_B), model.architecture, GPUS["t4"], 1000)
    assert found.seconds is None
    assert "no arithmetic" in render_time(found)


def test_a_checkpoint_is_weights_and_two_moments() -> None:
    model = named("cogvideox-5b")
    assert model is not None
    assert checkpoint_bytes(spec_of(FIVE_B), model.architecture) == 12 * 132_120_576


def test_only_the_newest_checkpoints_are_kept() -> None:
    assert kept_checkpoints(spec_of({"checkpointing.steps": 200}), 1000) == 5
    assert kept_checkpoints(spec_of({"checkpointing.steps": 10}), 1000) == 10
    assert kept_checkpoints(spec_of({"checkpointing.limit": None}), 1001) == 6
