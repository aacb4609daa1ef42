"""What a tracker is told: a point for every step, the evaluations, and pictures of the samples."""

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cvbundle.compiler.build import compile_file
from cvbundle.training.metrics import Metrics
from cvbundle.training.processes import Stopped
from tests.training.conftest import StopAfter, Train

_PROMPT = "A red square moves to the right."
_SETTINGS = (
    "training.steps=8",
    "checkpointing.steps=2",
    "validation.steps=4",
    "validation.num_inference_steps=1",
)


@pytest.fixture
def bundle(demo: Path, tmp_path: Path) -> Path:
    """The demo's, tracked as it is by default."""
    return compile_file(
        demo / "spec.yaml", tmp_path / "bundles", settings=_SETTINGS
    ).only.bundle.folder


def _events(run: Path) -> EventAccumulator:
    # Nothing is left out of what it is told, images included.
    events = EventAccumulator(str(run / "trackers/cvbundle"), size_guidance={"images": 0})
    events.Reload()
    return events


def _lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def _steps(points: Sequence[Any]) -> list[int]:
    return [point.step for point in points]


def _assert_everything_is_there_once(run: Path) -> None:
    events, rows = _events(run), _lines(run, "metrics.jsonl")
    for name in ("loss", "grad_norm", "lr"):
        points = events.Scalars(name)
        assert _steps(points) == list(range(1, 9)), name
        assert [point.value for point in points] == pytest.approx([row[name] for row in rows])
    evaluations = _lines(run, "evaluation.jsonl")
    assert [row["step"] for row in evaluations] == [0, 4, 8]
    points = events.Scalars("evaluation/loss")
    assert _steps(points) == [0, 4, 8]
    assert [point.value for point in points] == pytest.approx([row["loss"] for row in evaluations])
    for quantile in evaluations[0]["losses"]:
        assert _steps(events.Scalars(f"evaluation/{quantile}")) == [0, 4, 8]
    tags = [tag for tag in events.Tags()["images"] if tag.startswith(f"sample/{_PROMPT}")]
    assert tags
    assert {step for tag in tags for step in _steps(events.Images(tag))} == {4, 8}
    for tag in tags:
        assert _steps(events.Images(tag)) == [4, 8], tag


@pytest.mark.train
def test_points_evaluations_and_pictures_are_in_tensorboard(
    bundle: Path, train_here: Train, tmp_path: Path
) -> None:
    run = train_here(bundle)
    _assert_everything_is_there_once(run)
    events = _events(run)
    tag = events.Tags()["images"][0]
    picture = tmp_path / "picture.png"
    picture.write_bytes(events.Images(tag)[-1].encoded_image_string)
    # Eight of its frames side by side.
    assert Image.open(picture).size == (8 * 96, 64)


@pytest.mark.train
@pytest.mark.parametrize("looks", [2, 4, 5])
def test_a_run_that_goes_on_doubles_no_point_and_leaves_none_out(
    looks: int, bundle: Path, train_here: Train
) -> None:
    # With every clip in the cache, the steps alone are asked whether to stop.
    train_here(bundle)
    with pytest.raises(Stopped):
        train_here(bundle, "fresh", StopAfter(looks))
    run = train_here(bundle)
    assert "continues after step" in (run / "log.txt").read_text()
    _assert_everything_is_there_once(run)


@pytest.mark.train
def test_points_beyond_the_last_checkpoint_are_replaced(
    bundle: Path, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = Metrics.sync

    def full_at_step_8(metrics: Metrics) -> None:
        sync(metrics)
        if (bundle / "runs/0001/metrics.jsonl").read_bytes().count(b"\n") == 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "sync", full_at_step_8)
        with pytest.raises(OSError, match="No space left"):
            train_here(bundle)
    run = train_here(bundle)
    assert "continues after step 6" in (run / "log.txt").read_text()
    _assert_everything_is_there_once(run)
