"""Files that a stranger made up for the trainer are refused: nothing hangs, and nothing raises."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from cvbundle.problems import UserError
from cvbundle.training.cache import EncodingCache
from cvbundle.training.checkpoint import list_checkpoints, newest
from cvbundle.training.pretrained import stored_weights
from cvbundle.training.stored import stored_tensors

DEEP = b"[" * 100_000
HEADERS = [
    DEEP,
    b"[]",
    b'{"encoding": []}',
    b'{"encoding": {"dtype": "F32", "shape": [1], "data_offsets": []}}',
    b'{"encoding": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}',
    b'{"encoding": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
    b'{"encoding": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
    b'{"__metadata__": 1, "encoding": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
]


def checkpoint(folder: Path, number: int, files: Mapping[str, bytes]) -> Path:
    """A checkpoint whose digests are right."""
    path = folder / f"step-{number:08d}"
    path.mkdir(parents=True)
    lines = []
    for name, content in files.items():
        (path / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (path / "SHA256SUMS").write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    "state",
    [
        DEEP,
        b"[]",
        b"{}",
        b'{"step": "1", "optimizer": {}, "scaler": {}}',
        b'{"step": 1, "optimizer": [], "scaler": {}}',
    ],
)
def test_a_checkpoint_with_another_record_is_passed_over(state: bytes, tmp_path: Path) -> None:
    good = json.dumps({"step": 1, "optimizer": {}, "scaler": {}}).encode()
    older = checkpoint(tmp_path, 1, {"state.json": good})
    checkpoint(tmp_path, 2, {"state.json": state})
    reasons: list[str] = []
    assert newest(tmp_path, reasons.append) == older
    assert reasons == [
        "checkpoint step-00000002 is not used: state.json isn't what a trainer writes"
    ]


def test_a_checkpoint_that_names_other_files_is_not_read(tmp_path: Path) -> None:
    """`/dev/zero` has no end."""
    path = checkpoint(tmp_path, 1, {"state.json": b"{}"})
    with (path / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  /dev/zero\n")
    reasons: list[str] = []
    assert newest(tmp_path, reasons.append) is None
    assert "names '/dev/zero', which no checkpoint has" in reasons[0]


def test_folders_that_only_look_like_checkpoints_are_left_alone(tmp_path: Path) -> None:
    for name in ("step-²", "step-", "step-1x", "step-٣"):
        (tmp_path / name).mkdir()
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("header", HEADERS)
def test_a_cache_entry_that_was_made_up_is_removed(header: bytes, tmp_path: Path) -> None:
    cache = EncodingCache(tmp_path)
    key = "ab" * 32
    path = cache.path(key)
    path.parent.mkdir()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    cache.has(key)
    with pytest.raises(UserError, match="was damaged and is removed"):
        cache.read(key)
    assert not path.exists()
    cache.write(key, torch.ones(3))
    assert torch.equal(cache.read(key), torch.ones(3))


@pytest.mark.parametrize("header", HEADERS[:-1])
def test_weights_that_were_made_up_are_one_sentence(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match=r"a\.safetensors "):
        stored_tensors(path)


@pytest.mark.parametrize("length", [0, 1 << 40, (1 << 64) - 1])
def test_a_header_of_an_absurd_length_is_one_sentence(length: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little"))
    with pytest.raises(UserError, match="is no whole safetensors file"):
        stored_tensors(path)


@pytest.mark.parametrize(
    "index",
    [DEEP, b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": "../../b.safetensors"}}'],
)
def test_an_index_that_was_made_up_is_one_sentence(index: bytes, tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model.safetensors.index.json").write_bytes(index)
    with pytest.raises(UserError, match=r"index\.json names "):
        stored_weights(torch.nn.Linear(2, 2), tmp_path)
