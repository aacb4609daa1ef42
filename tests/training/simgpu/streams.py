"""Streams and events, and which kernel is known to have ended before which other one.

On this device every kernel ends before the next line of Python runs, so a missing wait would never
show. Instead each stream has a vector clock (Fidge 1988; torch.cuda._sanitizer does the same):
for every stream, how many of its kernels have certainly ended before the next one here begins.
Waiting merges clocks. A kernel that touches memory which another stream wrote, and whose clock
doesn't cover that write, raises.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from attrs import Factory, define, frozen

Clock = dict[int, int]
"""Kernels of each stream, by its number, that have ended."""

_numbers = count()


class MissingWait(RuntimeError):
    """A kernel reads or writes what another stream may still be working on."""


class Stream:
    """A queue of kernels, as `torch.cuda.Stream` is one."""

    def __init__(self, device: Any = None, priority: int = 0, **_: Any) -> None:
        self.device_index = TIMELINE.index_of(device)
        self.priority = priority
        self.number = next(_numbers)
        self.clock: Clock = {self.number: 0}
        TIMELINE.streams.append(self)

    def wait_stream(self, other: "Stream") -> None:
        """What is launched here later runs after all that was launched on the other one so far."""
        _merge(self.clock, other.clock)

    def wait_event(self, event: "Event") -> None:
        """The same, for what was launched before the event was recorded."""
        _merge(self.clock, event.clock)

    def record_event(self, event: "Event | None" = None) -> "Event":
        """Mark this point of the stream."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def synchronize(self) -> None:
        """The host waits for all that was launched here."""
        TIMELINE.host_waits(self.clock)

    def query(self) -> bool:
        """Whether all has ended: not before somebody waits for it, so that nobody relies on it."""
        return _covers(TIMELINE.host, self.clock)

    def __enter__(self) -> "Stream":
        self._before = TIMELINE.current(self.device_index)
        TIMELINE.set_current(self)
        return self

    def __exit__(self, *_: object) -> None:
        TIMELINE.set_current(self._before)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)


class Event:
    """A point in a stream, as `torch.cuda.Event` is one."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, **_: Any) -> None:
        self.clock: Clock = {}

    def record(self, stream: Stream | None = None) -> None:
        """Mark where a stream, else the current one, is."""
        stream = TIMELINE.current() if stream is None else stream
        self.clock = dict(stream.clock)

    def wait(self, stream: Stream | None = None) -> None:
        """A stream, else the current one, goes on after the event."""
        (TIMELINE.current() if stream is None else stream).wait_event(self)

    def synchronize(self) -> None:
        """The host waits for the event."""
        TIMELINE.host_waits(self.clock)

    def query(self) -> bool:
        """Whether the host is known to be after the event."""
        return _covers(TIMELINE.host, self.clock)

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds between two events: this device has no time of its own."""
        return 0.0


@define
class Accesses:
    """The last kernels that used one storage."""

    allocated_on: int
    """The number of the stream whose allocations may reuse the memory once it is freed."""
    write: tuple[int, int, str] | None = None
    """Stream, kernel of that stream, operator."""
    reads: dict[int, int] = Factory(dict)
    recorded: set[int] = Factory(set)
    """Streams that `record_stream` told the allocator of."""


@frozen
class _Arriving:
    """A copy to or from the host that has not been waited for."""

    stream: int
    kernel: int
    land: Callable[[], None]


class Timeline:
    """All streams of all devices, and the host."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.host: Clock = {}
        self._defaults: dict[int, Stream] = {}
        self._thread = threading.local()
        self._lock = threading.RLock()
        self._arriving: list[_Arriving] = []
        self._freed_early: list[str] = []

    def restart(self) -> None:
        """Forget everything but the default streams' existence."""
        self.__init__()  # type: ignore[misc]

    def index_of(self, device: Any) -> int:
        """The index of a device, or of the current one."""
        found = device if isinstance(device, int) else told_index(device)
        return self.device if found is None else found

    @property
    def device(self) -> int:
        """The current device of this thread."""
        return int(getattr(self._thread, "device", 0))

    @device.setter
    def device(self, index: int) -> None:
        self._thread.device = index

    def default(self, index: int) -> Stream:
        """The stream on which a device works unless another one is chosen."""
        with self._lock:
            if index not in self._defaults:
                self._defaults[index] = Stream(index)
            return self._defaults[index]

    def current(self, index: int | None = None) -> Stream:
        """The stream of this thread on a device, else on the current one."""
        index = self.device if index is None else index
        chosen: dict[int, Stream] = getattr(self._thread, "streams", {})
        return chosen.get(index) or self.default(index)

    def set_current(self, stream: Stream) -> None:
        """This thread's kernels go to a stream from now on."""
        chosen = dict(getattr(self._thread, "streams", {}))
        chosen[stream.device_index] = stream
        self._thread.streams = chosen

    def launch(self, index: int, reads: list[Accesses], writes: list[Accesses], name: str) -> None:
        """A kernel begins on the current stream of a device.

        Raises:
            MissingWait: what it touches may still be in use on another stream.
        """
        with self._lock:
            if self._freed_early:
                raise MissingWait(self._freed_early.pop())
            stream = self.current(index)
            _merge(stream.clock, self.host)
            for accesses in reads:
                _after_write(stream, accesses, name, "reads")
            for accesses in writes:
                _after_write(stream, accesses, name, "writes")
                _after_reads(stream, accesses, name)
            number = stream.clock[stream.number] = stream.clock.get(stream.number, 0) + 1
            for accesses in reads:
                accesses.reads[stream.number] = number
            for accesses in writes:
                accesses.write = (stream.number, number, name)
                accesses.reads = {}

    def arrives(self, index: int, land: Callable[[], None]) -> None:
        """The last kernel of the current stream is a copy which the host has not waited for."""
        stream = self.current(index)
        self._arriving.append(_Arriving(stream.number, stream.clock[stream.number], land))

    def host_waits(self, clock: Clock) -> None:
        """The host goes on after everything that a clock covers; what was copied to it is there."""
        with self._lock:
            _merge(self.host, clock)
            known, self._arriving = self._arriving, []
            done = [self.host.get(copy.stream, 0) >= copy.kernel for copy in known]
            self._arriving += [
                copy for copy, is_done in zip(known, done, strict=True) if not is_done
            ]
            for copy, is_done in zip(known, done, strict=True):
                if is_done:
                    copy.land()

    def synchronize(self, index: int) -> None:
        """The host waits for all streams of a device."""
        for stream in list(self.streams):
            if stream.device_index == index:
                self.host_waits(stream.clock)

    def freed(self, accesses: Accesses) -> None:
        """The allocator gives the memory to the next who asks on the stream it was made on."""
        owner = next((s for s in self.streams if s.number == accesses.allocated_on), None)
        if owner is None:
            return
        used = dict(accesses.reads)
        if accesses.write is not None:
            used[accesses.write[0]] = accesses.write[1]
        for number, kernel in used.items():
            known = max(owner.clock.get(number, 0), self.host.get(number, 0))
            if number not in {owner.number, *accesses.recorded} and known < kernel:
                self._freed_early.append(
                    f"memory was freed while stream {number} may still use it: "
                    "wait for that stream, or call record_stream"
                )


def told_index(device: torch.device | str | None) -> int | None:
    """The index in a device's name, if it has one."""
    return None if device is None else torch.device(device).index


def _merge(clock: Clock, other: Clock) -> None:
    for number, kernels in other.items():
        if clock.get(number, 0) < kernels:
            clock[number] = kernels


def _covers(clock: Clock, other: Clock) -> bool:
    return all(clock.get(number, 0) >= kernels for number, kernels in other.items())


def _after_write(stream: Stream, accesses: Accesses, name: str, does: str) -> None:
    if accesses.write is None:
        return
    number, kernel, writer = accesses.write
    if number != stream.number and stream.clock.get(number, 0) < kernel:
        raise MissingWait(
            f"{name} on stream {stream.number} {does} what {writer} writes on stream {number}, "
            "and nothing makes it wait"
        )


def _after_reads(stream: Stream, accesses: Accesses, name: str) -> None:
    for number, kernel in accesses.reads.items():
        if number != stream.number and stream.clock.get(number, 0) < kernel:
            raise MissingWait(
                f"{name} on stream {stream.number} writes what stream {number} still reads, "
                "and nothing makes it wait"
            )


@contextmanager
def on_stream(stream: Stream | None) -> Iterator[None]:
    """This thread's kernels go to a stream while the block runs; `torch.cuda.stream`."""
    if stream is None:
        yield
    else:
        with stream:
            yield


TIMELINE = Timeline()
