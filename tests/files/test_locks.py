"""A lock is one process's, and a descriptor is open only while it is held."""

from pathlib import Path

import pytest

from cvbundle.files import locks


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_lock_that_another_holds_is_not_taken_and_leaves_no_descriptor_open(
    tmp_path: Path,
) -> None:
    first = locks.take(tmp_path / "lock")
    assert first is not None
    held = _descriptors()
    assert locks.take(tmp_path / "lock") is None
    assert _descriptors() == held
    first.release()
    again = locks.take(tmp_path / "lock")
    assert again is not None
    again.release()


def test_an_interrupt_while_waiting_for_a_lock_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = _descriptors()
    monkeypatch.setattr("fcntl.flock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locks.take(tmp_path / "lock")
    assert _descriptors() == before
