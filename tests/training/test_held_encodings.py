"""An encoding is read and verified once a start, as long as there is room for it."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cvbundle.training import held, samples
from cvbundle.training.cache import EncodingCache
from cvbundle.training.held import HeldEncodings, room_for_encodings
from tests.training.conftest import CompileDemo, Train, result


class _Counted:
    """Encodings of 16 bytes, and how often each was read."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()

    def read(self, key: str) -> Tensor:
        """An entry."""
        self.reads[key] += 1
        return torch.full((4,), float(key))


def test_what_there_is_room_for_is_read_once() -> None:
    source = _Counted()
    encodings = HeldEncodings(source, room=32)
    for _ in range(3):
        assert [encodings.read(key)[0].item() for key in "123"] == [1.0, 2.0, 3.0]
    assert source.reads == {"1": 1, "2": 1, "3": 3}


def test_what_two_threads_read_at_once_takes_its_room_once() -> None:
    class Meanwhile(_Counted):
        """While an entry is read for the first time, another thread reads it."""

        def read(self, key: str) -> Tensor:
            tensor = super().read(key)
            if key == "1" and self.reads[key] == 1:
                encodings.read(key)
            return tensor

    source = Meanwhile()
    encodings = HeldEncodings(source, room=32)
    encodings.read("1")
    for _ in range(3):
        encodings.read("2")
    assert source.reads == {"1": 2, "2": 1}


@pytest.mark.train
def test_what_is_held_changes_no_bit(
    compile_demo: CompileDemo, train_here: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read = EncodingCache.read

    def counted(cache: EncodingCache, key: str) -> Tensor:
        reads[key] += 1
        return read(cache, key)

    monkeypatch.setattr(EncodingCache, "read", counted)
    settings = ("training.steps=6", "checkpointing.steps=6", "validation=null")
    bundle = compile_demo(*settings, "data.num_workers=0")
    run = train_here(bundle)
    # Four clips and their captions, each seen three times.
    assert (len(reads), set(reads.values())) == (8, {1})
    monkeypatch.setattr(samples, "room_for_encodings", lambda _: 0)
    assert result(train_here(bundle, "fresh")) == result(run)
    assert set(reads.values()) == {4}


def test_the_room_is_a_share_of_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("_MEMORY", "_LIMIT", "_USED")
    memory, limit, used = (tmp_path / name for name in names)
    for name in names:
        monkeypatch.setattr(held, name, tmp_path / name)
    assert room_for_encodings(1) == 0
    memory.write_text("MemTotal:  9999 kB\nMemAvailable:  800 kB\n")
    assert room_for_encodings(1) == 800 * 1024 // 8
    assert room_for_encodings(4) == 800 * 1024 // 32
    used.write_text("1000\n")
    limit.write_text("max\n")
    assert room_for_encodings(1) == 800 * 1024 // 8
    limit.write_text("9000\n")
    assert room_for_encodings(1) == 1000
    # A group of processes may be over a limit that was lowered.
    used.write_text("20000\n")
    assert room_for_encodings(1) == 0
