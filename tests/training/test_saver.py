"""A checkpoint is written while the next steps run, and holds what was there when it was due."""

import errno
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from attrs import field, frozen
from torch import nn

from cvbundle.problems import UserError
from cvbundle.training import checkpoint
from cvbundle.training.checkpoint import State, identity, newest, optimizer_state, read
from cvbundle.training.load import last_state
from cvbundle.training.processes import Processes
from cvbundle.training.progress import Reporter
from cvbundle.training.saver import Saver, copied_bytes
from tests.training.simgpu import MEMORY, TRAFFIC


class _Training:
    """A few weights with an optimizer, in place of a run."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.weights = {
            name: nn.Parameter(torch.ones(3, 5, device=device) * number)
            for number, name in enumerate(("a", "b"))
        }
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=0.1, foreach=False)
        self.folder = folder
        self.steps = 0
        self.saver = Saver(folder, self.optimizer, limit=None, writes=True, shared=False)

    def step(self) -> None:
        for weight in self.weights.values():
            weight.grad = torch.ones_like(weight)
        self.optimizer.step()
        self.steps += 1

    def save(self) -> None:
        self.saver.save(self.state())

    def state(self) -> State:
        moments, settings = optimizer_state(self.optimizer)
        return State(
            step=self.steps,
            weights=self.weights,
            moments=moments,
            settings=settings,
            average=None,
            scaler={},
        )

    def copy(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}


class _SlowDisk:
    """Writes nothing until it is let go."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.written: list[int] = []
        self._save = checkpoint.save

    def save(self, folder: Path, state: State, *, limit: int | None) -> Path:
        assert self.goes_on.wait(20)
        path = self._save(folder, state, limit=limit)
        self.written.append(state.step)
        return path


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[_SlowDisk]:
    disk = _SlowDisk()
    monkeypatch.setattr(checkpoint, "save", disk.save)
    yield disk
    disk.goes_on.set()


def _saved(folder: Path) -> State:
    path = newest(folder, pytest.fail)
    assert path is not None
    return read(path)


def _assert_holds(state: State, weights: dict[str, torch.Tensor]) -> None:
    assert set(state.weights) == set(weights)
    for name, weight in weights.items():
        assert torch.equal(state.weights[name], weight)


def test_on_a_device_the_next_steps_run_while_it_is_written(
    simgpu: None, tmp_path: Path, slow_disk: _SlowDisk
) -> None:
    training = _Training(tmp_path, "simgpu:0")
    with closing(training.saver) as saver:
        training.step()
        weights = training.copy()
        waited = len(TRAFFIC.syncs)
        training.save()
        training.step()
        training.step()
        assert len(TRAFFIC.syncs) == waited
        assert not slow_disk.written
        slow_disk.goes_on.set()
        saver.wait()
        copies = [copy for copy in TRAFFIC.copies if copy.to == "host" and copy.non_blocking]
        # Two weights with two moments each; an update's number is in host memory as it is.
        assert len(copies) >= 6
        assert all(copy.pinned for copy in copies)
    state = _saved(tmp_path)
    assert state.step == 1
    _assert_holds(state, weights)


def test_in_host_memory_the_next_update_waits_and_nothing_is_copied(
    tmp_path: Path, slow_disk: _SlowDisk
) -> None:
    training = _Training(tmp_path)
    with closing(training.saver) as saver:
        training.step()
        weights = training.copy()
        training.save()
        assert not slow_disk.written
        threading.Timer(0.2, slow_disk.goes_on.set).start()
        training.step()
        assert slow_disk.written == [1]
        saver.wait()
    _assert_holds(_saved(tmp_path), weights)


def test_a_checkpoint_waits_for_the_one_before_and_the_end_for_the_last(
    tmp_path: Path, slow_disk: _SlowDisk
) -> None:
    training = _Training(tmp_path)
    threading.Timer(0.2, slow_disk.goes_on.set).start()
    with closing(training.saver) as saver:
        training.step()
        training.save()
        training.steps += 1
        training.save()
        assert slow_disk.written[:1] == [1]
        saver.wait()
        assert slow_disk.written == [1, 2]


def test_a_failed_write_is_noticed_at_the_next_step_and_raised_at_the_next_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", "step-00000001")

    training = _Training(tmp_path)
    with closing(training.saver) as saver:
        training.step()
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save", full)
            training.save()
            training.step()
        assert saver.failed
        with pytest.raises(OSError, match="No space left on device: 'step-00000001'"):
            training.save()
        # It was told: what comes after is another matter.
        training.save()
        saver.wait()
    assert _saved(tmp_path).step == 2


def test_where_host_memory_has_no_room_for_a_copy_it_is_written_from_the_device(
    simgpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        available = 100

    training = _Training(tmp_path, "simgpu:0")
    monkeypatch.setattr(psutil, "virtual_memory", Full)
    with closing(training.saver):
        training.step()
        weights = training.copy()
        training.save()
        _assert_holds(_saved(tmp_path), weights)


def test_a_copy_must_leave_a_tenth_of_the_free_host_memory(
    simgpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _Training(tmp_path, "simgpu:0")
    training.step()
    size = copied_bytes(training.state())
    with closing(training.saver):
        monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(int(1.05 * size)))
        training.save()
        assert not MEMORY.pinned_for
        monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(int(1.2 * size)))
        training.step()
        training.save()
        assert MEMORY.pinned_for


def test_the_memory_of_a_copy_serves_the_next_one_and_is_given_back_at_the_end(
    simgpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _Training(tmp_path, "simgpu:0")
    with closing(training.saver) as saver:
        training.step()
        training.save()
        pinned = sum(MEMORY.pinned_for.values())
        # What it needs it has already.
        monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(0))
        training.step()
        weights = training.copy()
        before = len(TRAFFIC.copies)
        training.save()
        assert any(copy.non_blocking for copy in TRAFFIC.copies[before:])
        saver.wait()
        assert sum(MEMORY.pinned_for.values()) == pinned > 0
    _assert_holds(_saved(tmp_path), weights)
    assert not MEMORY._pinned
    assert not training.optimizer._optimizer_step_pre_hooks


@frozen
class Memory:
    """What psutil says of a machine."""

    available: int


@frozen(kw_only=True)
class _Second(Processes):
    """The second of two processes, as far as looking for a checkpoint goes."""

    rank: int = 1
    count: int = 2
    local_rank: int = 1
    machines: int = 1
    device: torch.device = field(factory=lambda: torch.device("cpu"))
    control: None = None
    newest: str | None
    """The name of the checkpoint that the first process has found."""
    content: str | None
    """What the first process sees there."""

    def broadcast(self, item: Any) -> Any:
        """The name that the first process has sent."""
        return self.newest

    def gather(self, item: Any) -> list[Any]:
        """The content that each process sees."""
        return [self.content, item]


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    with closing(Reporter(tmp_path, speaks=False)) as silent:
        yield silent


def test_only_the_first_process_reads_all_of_a_checkpoint_to_verify_it(
    reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _Training(tmp_path / "checkpoints")
    with closing(training.saver):
        training.step()
        training.save()
        weights = training.copy()
    saved = newest(tmp_path / "checkpoints", pytest.fail)
    assert saved is not None
    monkeypatch.setattr(checkpoint, "verify", pytest.fail)
    state = last_state(tmp_path, _Second(newest=saved.name, content=identity(saved)), reporter)
    assert state is not None
    _assert_holds(state, weights)


def test_a_checkpoint_that_the_first_process_refuses_is_used_by_none(
    reporter: Reporter, tmp_path: Path
) -> None:
    training = _Training(tmp_path / "checkpoints")
    with closing(training.saver):
        training.step()
        training.save()
    assert last_state(tmp_path, _Second(newest=None, content=None), reporter) is None


def test_processes_that_see_different_checkpoints_are_refused(
    reporter: Reporter, tmp_path: Path
) -> None:
    second = _Second(newest="step-00000001", content="step-00000001 and its content")
    with pytest.raises(UserError, match="process 0 has step-00000001, and process 1 another or no"):
        last_state(tmp_path, second, reporter)
