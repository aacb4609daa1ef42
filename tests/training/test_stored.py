"""Tensors are read straight to where they are wanted, and a header is not trusted."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cvbundle.problems import UserError
from cvbundle.training import stored
from cvbundle.training.pretrained import load_weights
from cvbundle.training.stored import Reader, file_order, stored_tensors
from tests.training.simgpu import MEMORY, TRAFFIC


def _written(path: Path, entry: dict[str, Any], data: bytes) -> Path:
    header = json.dumps({"a": {"dtype": "F32", **entry}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


@pytest.mark.parametrize(
    "entry",
    [
        {"shape": [2], "data_offsets": [0, 4]},
        {"shape": [-1, -2], "data_offsets": [0, 8]},
        {"shape": [2], "data_offsets": [-8, 0]},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(entry: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no whole safetensors file: download it again"):
        stored_tensors(_written(tmp_path / "a", entry, bytes(8)))


def test_a_header_may_not_be_longer_than_safetensors_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(tmp_path / "a", {"shape": [2], "data_offsets": [0, 8]}, bytes(8))
    assert set(stored_tensors(path)) == {"a"}
    monkeypatch.setattr(stored, "_HEADER_LIMIT", 20)
    with pytest.raises(UserError, match="is no whole safetensors file: download it again"):
        stored_tensors(path)


def test_what_has_the_wanted_type_is_read_into_its_own_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"a": torch.arange(5.0)}, tmp_path / "a")
    monkeypatch.setattr(stored, "_Buffers", pytest.fail)
    wanted = torch.empty(5)
    with Reader() as reader:
        reader.fill(wanted, stored_tensors(tmp_path / "a")["a"])
        (file,) = reader._files.values()
    assert wanted.tolist() == [0, 1, 2, 3, 4]
    assert file.closed


def test_a_file_that_is_cut_off_after_its_header_was_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_file({"a": torch.arange(5.0)}, path)
    tensors = stored_tensors(path)
    path.write_bytes(path.read_bytes()[:-4])
    with Reader() as reader, pytest.raises(UserError, match="is cut off: download it again"):
        reader.fill(torch.empty(5), tensors["a"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_go_to_a_device_through_two_pinned_buffers_in_the_type_of_their_file(
    dtype: torch.dtype, simgpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "_BUFFER", 64)
    tensor = torch.randn(100)
    save_file({"a": tensor}, tmp_path / "a")
    wanted = torch.empty(100, dtype=dtype, device="simgpu:1")
    with Reader() as reader:
        reader.fill(wanted, stored_tensors(tmp_path / "a")["a"])
        waited = len(TRAFFIC.syncs)
    copies = [copy for copy in TRAFFIC.copies if copy.to == "device"]
    assert sum(copy.bytes for copy in copies) == tensor.nbytes
    assert max(copy.bytes for copy in copies) <= 64
    assert all(copy.pinned and copy.non_blocking for copy in copies)
    assert sum(MEMORY.pinned_for.values()) == 2
    assert waited == 0
    assert torch.equal(wanted.cpu(), tensor.to(dtype))


def test_tensors_are_read_in_the_order_of_their_files(tmp_path: Path) -> None:
    for name in "ab":
        save_file({f"{name}{n}": torch.zeros(3) for n in range(3)}, tmp_path / name)
    one, other = (stored_tensors(tmp_path / name) for name in "ab")
    tensors = [*other.values(), *reversed(one.values())]
    ordered = [(each.path.name, each.begin) for each in file_order(tensors)]
    assert ordered == sorted(ordered)


class _Part(nn.Module):
    """A weight, and two buffers that are stored too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("places", torch.tensor([1, 300]))


def test_buffers_stay_buffers_and_whole_numbers_stay_whole(tmp_path: Path) -> None:
    save_file(_Part().state_dict(), tmp_path / "a")
    with torch.device("meta"):
        part = _Part()
    load_weights(part, stored_tensors(tmp_path / "a"), torch.bfloat16, torch.device("cpu"))
    assert {name: each.dtype for name, each in part.named_parameters()} == {
        "weight": torch.bfloat16
    }
    assert {name: each.dtype for name, each in part.named_buffers()} == {
        "scale": torch.bfloat16,
        "places": torch.int64,
    }
    assert part.get_buffer("places").tolist() == [1, 300]


def test_a_weight_that_is_not_stored_is_an_error_unless_it_may_be(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "a")
    with torch.device("meta"):
        part = _Part()
    stored_there, cpu = stored_tensors(tmp_path / "a"), torch.device("cpu")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_weights(part, stored_there, torch.float32, cpu)
    load_weights(part, stored_there, torch.float32, cpu, strict=False)
    assert part.get_buffer("scale").is_meta
    assert not part.weight.is_meta
