"""Work that is done before it is asked for comes in order, and no more of it than asked."""

import threading
from collections.abc import Iterator
from itertools import count

import pytest

from cvbundle.training.ahead import made_ahead


def test_results_come_in_order_whichever_is_done_first() -> None:
    later = threading.Event()

    def work(number: int) -> int:
        # The first waits for the second.
        if number == 0:
            assert later.wait(60)
        later.set()
        return number * number

    made = made_ahead(range(6), work, threads=2, ahead=4)
    assert list(made) == [(number, number * number) for number in range(6)]


def test_items_without_end_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    made = made_ahead(items(), str, threads=1, ahead=3)
    assert [next(made), next(made)] == [(0, "0"), (1, "1")]
    made.close()
    assert taken == [0, 1, 2, 3, 4]


def test_an_error_is_raised_where_its_item_would_come() -> None:
    made = made_ahead([1, 0, 2], lambda number: 1 / number, threads=2, ahead=3)
    assert next(made) == (1, 1.0)
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert list(made) == []


def test_so_is_that_of_a_thread_which_could_not_begin() -> None:
    def prepare() -> None:
        raise LookupError("no device")

    made = made_ahead(range(3), str, threads=2, ahead=3, prepare=prepare)
    with pytest.raises(LookupError, match="no device"):
        next(made)


def test_each_thread_is_prepared_once_and_first() -> None:
    own = threading.local()
    prepared: list[int] = []

    def prepare() -> None:
        own.ready = True
        prepared.append(threading.get_ident())

    made = made_ahead(range(20), lambda _: own.ready, threads=2, ahead=4, prepare=prepare)
    assert all(ready for _, ready in made)
    assert len(prepared) == len(set(prepared)) <= 2


def test_closing_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    made = made_ahead(range(100), str, threads=3, ahead=6)
    next(made)
    assert threading.active_count() > before
    made.close()
    assert threading.active_count() == before
