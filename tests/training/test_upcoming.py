"""The next batch comes to the device while a step is computed, and no kernel is too early."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cvbundle.problems import UserError
from cvbundle.training.samples import Batch
from cvbundle.training.upcoming import Upcoming
from tests.training.simgpu import TRAFFIC, MissingWait


@pytest.fixture
def device(simgpu: None) -> torch.device:
    """The simulated one."""
    return torch.device("simgpu", 0)


def _batch(value: float) -> Batch:
    latents = torch.full((1, 1, 2, 2, 2), value)
    return Batch(
        latents=latents,
        noise=latents,
        timesteps=torch.tensor([1]),
        prompt=torch.ones(1, 2, 2),
        image=torch.full((1, 3, 2, 2), value),
        image_draw=None,
        image_kept=torch.ones(1),
    )


def _batches(number: int) -> Iterator[Batch]:
    yield from (_batch(value).pin_memory() for value in range(number))


def _encoded(weights: Tensor) -> Any:
    return lambda batch: batch.image * weights


def test_the_next_batch_is_made_on_another_stream_and_waited_for(device: torch.device) -> None:
    weights = torch.full((1,), 2.0, device=device)
    upcoming = Upcoming(_batches(3), device, _encoded(weights))
    seen = []
    for _ in range(3):
        ready = upcoming.take()
        assert ready.image is not None
        # Kernels of the main stream, which would raise where nothing makes them wait.
        result = (ready.image + ready.batch.latents.sum() * 0).sum()
        upcoming.begin()
        seen.append(result)
        # The host has not waited either.
        assert not TRAFFIC.syncs
        del ready
    with pytest.raises(StopIteration):
        upcoming.take()
    assert torch.stack(seen).tolist() == [0.0, 24.0, 48.0]


@pytest.mark.parametrize("forgotten", ["wait_event", "record_stream", "wait_stream"])
def test_each_wait_is_needed(
    forgotten: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.full((1,), 2.0, device=device)
    owner = (
        type(weights) if forgotten == "record_stream" else torch.get_device_module(device).Stream
    )
    monkeypatch.setattr(owner, forgotten, lambda *_: None)

    def train() -> None:
        upcoming = Upcoming(_batches(3), device, _encoded(weights))
        for _ in range(3):
            ready = upcoming.take()
            assert ready.image is not None
            ready.image + ready.batch.latents.sum()
            del ready
            upcoming.begin()

    with pytest.raises(MissingWait):
        train()


def test_on_a_cpu_nothing_is_made_ahead() -> None:
    made = []

    def batches() -> Iterator[Batch]:
        for value in range(2):
            made.append(value)
            yield _batch(value)

    upcoming = Upcoming(batches(), torch.device("cpu"), lambda batch: batch.image)
    upcoming.take()
    upcoming.begin()
    assert made == [0]


def test_a_sample_that_cannot_be_read_ends_the_step_that_it_is_for(device: torch.device) -> None:
    def batches() -> Iterator[Batch]:
        yield _batch(0)
        raise UserError("damaged")

    upcoming = Upcoming(batches(), device, lambda batch: batch.image)
    upcoming.take()
    upcoming.begin()
    with pytest.raises(UserError, match="damaged"):
        upcoming.take()


def test_what_was_begun_in_vain_is_waited_for_before_its_weights_are_freed(
    device: torch.device,
) -> None:
    def stopped(*, closed: bool) -> None:
        weights = torch.full((1,), 2.0, device=device)
        upcoming = Upcoming(_batches(2), device, _encoded(weights))
        upcoming.take()
        upcoming.begin()
        if closed:
            upcoming.close()

    stopped(closed=True)
    torch.ones(1, device=device)
    stopped(closed=False)
    with pytest.raises(MissingWait, match="freed"):
        torch.ones(1, device=device) + 1
