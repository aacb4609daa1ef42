"""The machines of a run find each other, and whoever doesn't belong there is told so."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from attrs import evolve

from cvbundle.problems import UserError
from cvbundle.training import watch
from cvbundle.training.machines import Machine, Place
from cvbundle.training.meeting import Interrupted, Meeting, gather, join

_FIRST = Machine(host="cvh1", job="7", bundle="ab" * 32, rank=0, machines=2, processes=4)
_SECOND = evolve(_FIRST, host="cvh2", rank=1)


@pytest.fixture
def place() -> Place:
    """A port that is free, where nobody waits for long."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Place(address="127.0.0.1", port=server.getsockname()[1], wait_s=10)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Where each machine's launcher is a thread."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def _gather(
    pool: ThreadPoolExecutor,
    place: Place,
    own: Machine = _FIRST,
    stop: threading.Event | None = None,
) -> "Future[Meeting]":
    return pool.submit(gather, own, place, 4711, stop or threading.Event())


def _join(
    pool: ThreadPoolExecutor,
    place: Place,
    own: Machine = _SECOND,
    stop: threading.Event | None = None,
) -> "Future[Meeting]":
    return pool.submit(join, own, place, stop or threading.Event())


def test_they_meet_in_any_order_and_know_where_the_store_is(
    pool: ThreadPoolExecutor, place: Place
) -> None:
    second = _join(pool, place)
    time.sleep(0.3)
    first = _gather(pool, place)
    assert first.result().peers.name == "cvh1"
    assert second.result().peers.name == "cvh2"
    assert second.result().store_port == 4711
    assert first.result().own_address == "127.0.0.1"


def test_machines_of_one_host_get_different_names(pool: ThreadPoolExecutor, place: Place) -> None:
    first, second = _gather(pool, place), _join(pool, place, evolve(_SECOND, host="cvh1"))
    assert first.result().peers.name == "cvh1 (machine 0)"
    assert second.result().peers.name == "cvh1 (machine 1)"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            evolve(_SECOND, bundle="cd" * 32),
            "cvh2 has bundle cdcdcdcdcdcdcdcd, and cvh1 has abababababababab: start the same "
            "bundle on every machine",
        ),
        (
            evolve(_SECOND, processes=2),
            "cvh2 counts 2 processes on 2 machines, and cvh1 4 on 2: set CVBUNDLE_NUM_PROCESSES "
            "and CVBUNDLE_NUM_MACHINES to the same everywhere",
        ),
        (
            evolve(_SECOND, rank=0),
            "cvh2 comes as machine 0, which cvh1 is: set MACHINE_RANK to 0 on cvh1 and to another "
            "number below 2 on each other machine",
        ),
    ],
)
def test_one_that_does_not_fit_ends_the_run_on_all_with_one_sentence(
    other: Machine, sentence: str, pool: ThreadPoolExecutor, place: Place
) -> None:
    first, second = _gather(pool, place), _join(pool, place, other)
    for each in (first, second):
        with pytest.raises(UserError) as found:
            each.result()
        assert str(found.value) == sentence


def test_two_machines_of_one_rank_are_refused(pool: ThreadPoolExecutor, place: Place) -> None:

    first = _gather(pool, place, evolve(_FIRST, machines=3, processes=6))
    one = _join(pool, place, evolve(_SECOND, machines=3, processes=6))
    two = _join(pool, place, evolve(_SECOND, host="cvh3", machines=3, processes=6))
    for each in (first, one, two):
        with pytest.raises(UserError, match=r"cvh[23] comes as machine 1, which cvh[23] is"):
            each.result()


def test_another_job_is_sent_away_and_the_run_begins(
    pool: ThreadPoolExecutor, place: Place
) -> None:
    first = _gather(pool, place)
    with pytest.raises(UserError, match=r"first machine of job 7 and cvh3 is of job 8: give each"):
        _join(pool, place, evolve(_SECOND, host="cvh3", job="8")).result()
    second = _join(pool, place)
    assert first.result().peers.name == "cvh1"
    assert second.result().peers.name == "cvh2"


def test_what_speaks_something_else_is_ignored(pool: ThreadPoolExecutor, place: Place) -> None:
    first = _gather(pool, place)
    time.sleep(0.5)
    strange = b'{"kind": "hello", "host": 1, "job": "7", "bundle": "", "rank": [], "machines": 2}\n'
    for said in (
        strange,
        b"[" * 60000 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"kind": "hello", "rank": 1}\n',
        b"[1]\n",
        b"",
    ):
        with socket.create_connection((place.address, place.port)) as stranger:
            stranger.sendall(said)
    second = _join(pool, place)
    assert first.result().peers.name == "cvh1"
    assert second.result().peers.name == "cvh2"


def test_one_that_does_not_come_is_named_by_its_rank(place: Place) -> None:
    quick = evolve(place, wait_s=0.3)
    with pytest.raises(UserError, match=r"^machine 1 of 2 did not come to cvh1 at .* within 0.3 s"):
        gather(_FIRST, quick, 0, threading.Event())


def test_a_first_machine_that_is_not_there_is_one_sentence(place: Place) -> None:
    quick = evolve(place, wait_s=0.3)
    with pytest.raises(
        UserError, match=r"^the first machine can't be reached at .* MAIN_PROCESS_IP"
    ):
        join(_SECOND, quick, threading.Event())


def test_a_port_in_use_is_one_sentence(place: Place) -> None:
    with (
        socket.create_server(("127.0.0.1", place.port)),
        pytest.raises(UserError, match=r"^port \d+ of cvh1 is in use by another process"),
    ):
        gather(_FIRST, place, 0, threading.Event())


@pytest.mark.parametrize("stopped", ["first", "second"])
def test_one_that_is_stopped_while_it_waits_stops_those_that_came(
    stopped: str, pool: ThreadPoolExecutor, place: Place
) -> None:

    stops = {"first": threading.Event(), "second": threading.Event()}
    first = _gather(pool, place, evolve(_FIRST, machines=3, processes=6), stops["first"])
    second = _join(pool, place, evolve(_SECOND, machines=3, processes=6), stops["second"])
    time.sleep(1)
    stops[stopped].set()
    for each in (first, second):
        with pytest.raises(Interrupted):
            each.result()


def test_one_that_dies_while_it_waits_may_come_again(
    pool: ThreadPoolExecutor, place: Place
) -> None:

    first = _gather(pool, place, evolve(_FIRST, machines=3, processes=6))
    time.sleep(0.5)
    with socket.create_connection((place.address, place.port)) as gone:
        gone.sendall(b'{"kind": "hello", "host": "cvh2", "job": "7", "bundle": "')
        gone.sendall(b"ab" * 32 + b'", "rank": 1, "machines": 3, "processes": 6}\n')
        time.sleep(0.5)
    time.sleep(0.5)
    others = [
        _join(pool, place, evolve(_SECOND, machines=3, processes=6)),
        _join(pool, place, evolve(_SECOND, host="cvh3", rank=2, machines=3, processes=6)),
    ]
    names = [each.result().peers.name for each in (first, *others)]
    assert names == ["cvh1", "cvh2", "cvh3"]


def _met(pool: ThreadPoolExecutor, place: Place) -> tuple[watch.Peers, watch.Peers]:
    first, second = _gather(pool, place), _join(pool, place)
    return first.result().peers, second.result().peers


def _news(peers: watch.Peers) -> watch.Ended:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = peers.look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing is heard")


def test_the_others_learn_how_one_ends(pool: ThreadPoolExecutor, place: Place) -> None:
    first, second = _met(pool, place)
    left = pool.submit(second.leave, 3, "the disk is full")
    assert _news(first).sentence == "cvh2: the disk is full"
    left.result()
    assert first.look() is None


def test_one_that_has_done_its_part_is_not_missed(pool: ThreadPoolExecutor, place: Place) -> None:
    first, second = _met(pool, place)
    left = pool.submit(first.leave, 0, "")
    while not left.done():
        assert second.look() is None
    assert second.look() is None


def test_one_that_says_nothing_is_gone_though_its_connection_is_open(
    pool: ThreadPoolExecutor, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _met(pool, place)
    monkeypatch.setattr(watch, "BEAT_S", 0.05)
    monkeypatch.setattr(watch, "SILENCE_S", 0.5)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert first.look() is None
        assert second.look() is None
        time.sleep(0.02)
    lost = _news(first)
    assert lost.code is None
    assert lost.sentence.startswith("cvh2 has not been heard of for ")


def test_what_happens_to_one_is_passed_on_by_the_first(
    pool: ThreadPoolExecutor, place: Place
) -> None:

    first = _gather(pool, place, evolve(_FIRST, machines=3, processes=6))
    second = _join(pool, place, evolve(_SECOND, machines=3, processes=6))
    third = _join(pool, place, evolve(_SECOND, host="cvh3", rank=2, machines=3, processes=6))
    left = pool.submit(second.result().peers.leave, 3, "the disk is full")
    assert _news(first.result().peers).host == "cvh2"
    assert _news(third.result().peers).sentence == "cvh2: the disk is full"
    left.result()
