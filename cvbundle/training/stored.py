"""Tensors in safetensors files, read into their final memory, whole or in part, piece by piece.

The library maps a file (safetensors 0.8.0, `safe_open`): its pages count to the process until the
last tensor of it is let go, and a tensor of another type is held twice while it is cast. Here
nothing is mapped. What has the target's type is read into the target's own memory. Everything else
passes through a small buffer, which is page-locked where it goes on to a GPU.
"""

import json
import math
from collections.abc import Iterable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Self

import torch
from attrs import frozen
from torch import Tensor

from cvbundle.problems import UserError
from cvbundle.training.device import Event
from cvbundle.training.tensors import DTYPES, LENGTH

_BUFFER = 8 << 20
"""Bytes that are read at a time."""
_HEADER_LIMIT = 100_000_000
"""Bytes that a header has at most (safetensors 0.8.0, tensor.rs, `MAX_HEADER_SIZE`)."""


@frozen(kw_only=True)
class Stored:
    """A tensor in a file."""

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """Bytes in the file before its first element."""

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def stored_tensors(path: Path) -> dict[str, Stored]:
    """What a safetensors file holds, by name.

    Raises:
        UserError: it can't be read, or isn't a whole file of that format.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH), "little")
            text = file.read(length) if length <= min(size, _HEADER_LIMIT) else b""
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    data = LENGTH + length
    try:
        header: dict[str, Any] = json.loads(text)
        header.pop("__metadata__", None)
        tensors = {name: _stored(path, name, entry, data) for name, entry in header.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is no whole safetensors file: download it again") from None
    end = max((s.begin + s.count * s.dtype.itemsize for s in tensors.values()), default=data)
    if size < end:
        raise UserError(f"{path} is cut off after {size:,} of {end:,} bytes: download it again")
    return tensors


def _stored(path: Path, name: str, entry: Mapping[str, Any], data: int) -> Stored:
    """An entry of a header.

    Raises:
        UserError: the tensor is of a type that is not loaded.
        ValueError: the entry contradicts itself.
    """
    if entry["dtype"] not in DTYPES:
        raise UserError(f"{path} has {name} as {entry['dtype']}, which can't be trained from")
    begin, end = entry["data_offsets"]
    stored = Stored(
        path=path,
        name=name,
        dtype=DTYPES[entry["dtype"]],
        shape=tuple(entry["shape"]),
        begin=data + begin,
    )
    if end - begin != stored.count * stored.dtype.itemsize or min(begin, *stored.shape, 0) < 0:
        raise ValueError(name)
    return stored


class Reader:
    """Fills tensors from files, which it keeps open until it is closed."""

    def __init__(self) -> None:
        self._files: dict[Path, FileIO] = {}
        self._buffers: dict[torch.device, _Buffers] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for buffers in self._buffers.values():
            buffers.wait()
        for file in self._files.values():
            file.close()

    @torch.no_grad()
    def fill(self, target: Tensor, stored: Stored, *, row: int = 0) -> None:
        """Fill `target`, a tensor without gaps, with the elements of a stored one from a row on.

        They are cast to its type. Where it has no dimensions, it takes the only element.

        Raises:
            UserError: the file can't be read to the end.
        """
        flat = target.view(-1)
        at = stored.begin + row * math.prod(stored.shape[1:]) * stored.dtype.itemsize
        if flat.device.type == "cpu" and flat.dtype == stored.dtype:
            self._read(stored.path, at, flat)
            return
        buffers = self._buffers.get(flat.device)
        if buffers is None:
            buffers = self._buffers[flat.device] = _Buffers(flat.device)
        begin = 0
        while begin < flat.numel():
            piece = buffers.next(stored.dtype, flat.numel() - begin)
            self._read(stored.path, at + begin * stored.dtype.itemsize, piece)
            buffers.send(piece, flat[begin : begin + piece.numel()])
            begin += piece.numel()

    def _read(self, path: Path, at: int, into: Tensor) -> None:
        view = into.view(torch.uint8).numpy().data
        try:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = FileIO(path)
            file.seek(at)
            done = 0
            while done < len(view):
                read = file.readinto(view[done:])
                if not read:
                    raise UserError(f"{path} is cut off: download it again")
                done += read
        except OSError as error:
            raise UserError(f"{path} can't be read ({error.strerror})") from None


class _Buffers:
    """Memory that pieces pass through; two on a GPU, so that one is read into while one is sent."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type != "cpu"
        self._all = [
            torch.empty(_BUFFER, dtype=torch.uint8, pin_memory=self._on_gpu)
            for _ in range(2 if self._on_gpu else 1)
        ]
        self._sent: list[Event | None] = [
            torch.get_device_module(device).Event() if self._on_gpu else None for _ in self._all
        ]

    def next(self, dtype: torch.dtype, count: int) -> Tensor:
        """A buffer that nothing is sent from any more, for up to `count` elements."""
        self._all.append(self._all.pop(0))
        self._sent.append(self._sent.pop(0))
        if self._sent[-1] is not None:
            # Does not wait where nothing was recorded.
            self._sent[-1].synchronize()
        return self._all[-1].view(dtype)[:count]

    def send(self, piece: Tensor, to: Tensor) -> None:
        """Copy a piece to its place; its buffer is free when that has happened."""
        if self._on_gpu and piece.dtype != to.dtype:
            # Cast there: the copy would cast here first, and into memory that isn't page-locked.
            piece = piece.to(self._device, non_blocking=True)
        to.copy_(piece, non_blocking=self._on_gpu)
        if self._sent[-1] is not None:
            # Of this device, which need not be the current one.
            module = torch.get_device_module(self._device)
            self._sent[-1].record(module.current_stream(self._device))

    def wait(self) -> None:
        """Return when everything that was sent has arrived."""
        for event in self._sent:
            if event is not None:
                event.synchronize()


def file_order(stored: Iterable[Stored]) -> list[Stored]:
    """As they come in their files."""
    return sorted(stored, key=lambda each: (each.path, each.begin))
