"""Draws depend on the seed and what they are for, and on nothing that came before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.training.loader import batch_numbers
from cvbundle.training.randomness import Purpose, SampleOrder, normal, stream, torch_seed

seeds = st.integers(0, 2**64 - 1)
numbers = st.integers(0, 2**40)


@given(seeds, numbers)
def test_a_draw_is_the_same_whatever_was_drawn_before(seed: int, number: int) -> None:
    first = normal(seed, Purpose.NOISE, number, (3, 4))
    normal(seed, Purpose.NOISE, number + 1, (5,))
    assert np.array_equal(first, normal(seed, Purpose.NOISE, number, (3, 4)))


@given(seeds, numbers)
def test_samples_seeds_and_purposes_have_streams_of_their_own(seed: int, number: int) -> None:
    draws = {
        float(stream(seed, Purpose.NOISE, number).random()),
        float(stream(seed, Purpose.NOISE, number + 1).random()),
        float(stream(seed, Purpose.TIMESTEP, number).random()),
        float(stream(seed ^ 1, Purpose.NOISE, number).random()),
    }
    assert len(draws) == 4


def test_the_numbers_of_a_stream_never_change() -> None:
    # A change here changes every run of every bundle.
    assert stream(42, Purpose.ORDER, 0).permutation(8).tolist() == [5, 1, 4, 7, 3, 0, 2, 6]
    assert torch_seed(42, Purpose.WEIGHTS, 0) == 8529804427343796893
    assert int(stream(42, Purpose.TIMESTEP, 0).integers(1000)) == 203
    noise = [-0.8260113596916199, 0.4034637212753296, 2.0554187297821045, -1.434376835823059]
    assert normal(42, Purpose.NOISE, 0, (4,)).tolist() == noise


@given(seeds, st.integers(1, 50), st.integers(0, 5))
def test_every_epoch_visits_every_row_once(seed: int, size: int, epoch: int) -> None:
    order = SampleOrder(seed, size)
    rows = [order.row(epoch * size + position) for position in range(size)]
    assert sorted(rows) == list(range(size))


def test_epochs_are_ordered_differently() -> None:
    order = SampleOrder(42, 100)
    first = [order.row(n) for n in range(100)]
    assert first != [order.row(n) for n in range(100, 200)]
    assert first == [order.row(n) for n in range(100)]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(0, 6))
def test_processes_share_each_global_batch_and_leave_no_sample_out(
    batch: int, accumulation: int, world_size: int, first: int
) -> None:
    global_batch = batch * accumulation * world_size
    shares = [
        list(
            batch_numbers(
                first_step=first,
                last_step=first + 3,
                global_batch=global_batch,
                batch=batch,
                rank=rank,
                world_size=world_size,
            )
        )
        for rank in range(world_size)
    ]
    assert all(len(share) == 3 * accumulation for share in shares)
    taken = sorted(number for share in shares for numbers in share for number in numbers)
    assert taken == list(range(first * global_batch, (first + 3) * global_batch))
    for step in range(3):
        in_step = {
            number
            for share in shares
            for numbers in share[step * accumulation : (step + 1) * accumulation]
            for number in numbers
        }
        start = (first + step) * global_batch
        assert in_step == set(range(start, start + global_batch))
