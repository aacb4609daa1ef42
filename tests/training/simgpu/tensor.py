"""A tensor of the simulated device: a CPU tensor that no operator of the host may touch."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._C import TensorBase
from torch.utils._mode_utils import no_dispatch

from tests.training.simgpu.memory import MEMORY
from tests.training.simgpu.rules import (
    COPIES,
    INDEXED,
    check_deterministic,
    check_devices,
    waits,
)
from tests.training.simgpu.streams import TIMELINE, Accesses, MissingWait
from tests.training.simgpu.traffic import TRAFFIC, Copy, place

NAME = "simgpu"

_HOST = torch.device("cpu")

_drawing = threading.RLock()

GENERATORS: dict[int, torch.Generator] = {}
"""The random numbers of each device, which are not the host's."""


REFUSED: list[RuntimeError] = []
"""What a backward was refused, which is raised after it."""


class DeviceTensor(Tensor):
    """A tensor on `simgpu:0` or `simgpu:1`."""

    held: Tensor
    """Its elements, in the host's memory."""

    # Results of the host's operators stay plain tensors.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor, index: int) -> "DeviceTensor":
        """A tensor with the shape, strides and type of the one that it holds."""
        made: DeviceTensor = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, index),
        )
        made.held = held
        MEMORY.hold(held, index)
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator, if it is one that a GPU would run."""
        return _run(func, args, kwargs or {})

    # What torch's C++ refuses for any subclass, as it is for a tensor of a GPU.

    def tolist(self) -> Any:
        """The elements, for which the host waits."""
        return self.cpu().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused: numpy reads the host's memory.

        Raises:
            TypeError: as CUDA words it.
        """
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        """The same for `numpy.asarray`."""
        return self.numpy()

    def untyped_storage(self) -> torch.UntypedStorage:
        """Of the elements; its own says nothing."""
        return self.held.untyped_storage()

    def data_ptr(self) -> int:
        """An address that tells tensors apart."""
        return self.held.data_ptr()

    @property
    def data(self) -> Tensor:
        """The elements without a history."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        """Other elements from now on: `parameter.data = parameter.data.to(...)`."""
        vars(TensorBase)["data"].__set__(self, value)
        self.held = value.held  # type: ignore[attr-defined]

    def record_stream(self, stream: Any) -> None:
        """The memory isn't given to others before a stream has done with it."""
        MEMORY.accesses(self.held).recorded.add(stream.number)

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Printing a tensor reads it."""
        TRAFFIC.waits("repr")
        return f"{self.held!r} on {self.device}"

    __str__ = __repr__

    def __reduce_ex__(self, _: Any) -> Any:
        """Copied and pickled as the elements and the device."""
        return _rebuilt, (self.held, self.device.index, self.requires_grad)


def _rebuilt(held: Tensor, index: int, requires_grad: bool) -> Tensor:
    return DeviceTensor(held, index).requires_grad_(requires_grad)


def index_of(device: torch.device | None) -> int:
    """The index of a device; of the current one where it has none."""
    return TIMELINE.index_of(device)


def drawn(index: int, draw: Callable[[], Any]) -> Any:
    """Random numbers of a device: the host's generator is as before."""
    with _drawing:
        host = torch.get_rng_state()
        generator = GENERATORS.setdefault(index, torch.Generator())
        torch.set_rng_state(generator.get_state())
        try:
            return draw()
        finally:
            generator.set_state(torch.get_rng_state())
            torch.set_rng_state(host)


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    everything = (*args, *kwargs.values())
    tensors = list(_device_tensors(everything))
    device = tensors[0].device
    if func in COPIES:
        return _copied(func, args, kwargs)
    _check(lambda: check_devices(func, everything, device))
    _check(lambda: check_deterministic(func))
    if waits(func, args):
        TRAFFIC.waits(str(func))
        TIMELINE.current(device.index).synchronize()
    elif func in INDEXED and any(i is not None and i.device == _HOST for i in args[1]):
        TRAFFIC.waits(f"{func} with indices of the host")
    _launch(func, args, kwargs, device.index)
    asked = kwargs.get("device")
    inner = {name: _unwrapped(value) for name, value in kwargs.items()}
    if asked is not None:
        inner["device"] = _HOST
    plain = [_unwrapped(value) for value in args]
    if torch.Tag.nondeterministic_seeded in func.tags:
        result = drawn(device.index, lambda: func(*plain, **inner))
    else:
        result = func(*plain, **inner)
    if asked is not None and asked.type != NAME:
        return result
    index = device.index if asked is None else index_of(asked)
    return _wrapped(func, args, kwargs, result, index)


def _check(check: Callable[[], None]) -> None:
    try:
        check()
    except RuntimeError as error:
        if torch._C._current_graph_task_id() == -1:
            raise
        REFUSED.append(error)


def _device_tensors(values: Any) -> Any:
    for value in values:
        if isinstance(value, DeviceTensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _device_tensors(value)


def _unwrapped(value: Any) -> Any:
    if isinstance(value, DeviceTensor):
        return value.held
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(inner) for inner in value)
    return value


def _launch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> None:
    """Tell the timeline which memory the operator reads and writes."""
    reads: list[Accesses] = []
    writes: list[Accesses] = []
    for number, argument in enumerate(func._schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        written = argument.alias_info is not None and argument.alias_info.is_write
        if not written and argument.alias_info is not None:
            # A view: nothing is read yet.
            continue
        for tensor in _device_tensors((value,)):
            (writes if written else reads).append(MEMORY.accesses(tensor.held))
    if reads or writes:
        _check(lambda: TIMELINE.launch(index, reads, writes, str(func)))


@cache
def _written(func: Any) -> tuple[int | None, ...]:
    """For each result, which argument it is, where the operator writes into that one."""
    arguments = func._schema.arguments
    found = []
    for result in func._schema.returns:
        alias = result.alias_info
        same = [
            number
            for number, argument in enumerate(arguments)
            if alias is not None
            and alias.is_write
            and argument.alias_info is not None
            and argument.alias_info.before_set == alias.before_set
        ]
        found.append(same[0] if same else None)
    return tuple(found)


def _wrapped(func: Any, args: Any, kwargs: Any, result: Any, index: int) -> Any:
    if torch.Tag.inplace_view in func.tags:
        # The wrapper's own shape changes as that of the elements did.
        with no_dispatch():
            func(*args, **kwargs)
        return args[0]
    results = result if isinstance(result, tuple) else (result,)
    wrapped = []
    for number, each in zip(_written(func), results, strict=False):
        if number is not None:
            name = func._schema.arguments[number].name
            wrapped.append(args[number] if number < len(args) else kwargs[name])
        else:
            wrapped.append(_made(each, index))
    return tuple(wrapped) if isinstance(result, tuple) else wrapped[0] if wrapped else None


def _made(value: Any, index: int) -> Any:
    """A result on a device; the stream that made it wrote it."""
    if isinstance(value, Tensor):
        made = DeviceTensor(value, index)
        accesses = MEMORY.accesses(value)
        if accesses.write is None:
            TIMELINE.launch(index, [], [accesses], "its maker")
        return made
    if isinstance(value, list | tuple):
        return type(value)(_made(each, index) for each in value)
    return value


def _copied(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One of the operators that bring a tensor from one device to another."""
    if func is torch.ops.aten._to_copy.default:
        source = args[0]
        target = kwargs.get("device") or source.device
        non_blocking = bool(kwargs.get("non_blocking"))
        options = {**kwargs, "device": _HOST, "non_blocking": False}
        elements = func(source.held, **options)
        _launch(func, args, kwargs, source.device.index)
        if target.type == NAME:
            return _made(elements, index_of(target))
        if non_blocking:
            # Page-locked, or the copy could not be left to itself (Copy.cu, `_to_copy`).
            MEMORY.pin(elements)
        _to_host(elements, elements.clone(), source.device.index, non_blocking=non_blocking)
        return elements
    # `_copy_from` names the source first.
    into, source = args[:2] if func is torch.ops.aten.copy_.default else (args[1], args[0])
    copy_to(
        into, source, non_blocking=bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
    )
    return into


def copy_to(into: Tensor, source: Tensor, *, non_blocking: bool) -> None:
    """Copy elements between or within devices and the host."""
    copy = torch.ops.aten.copy_.default
    if isinstance(into, DeviceTensor):
        _launch(copy, (into, source), {}, into.device.index)
        into.held.copy_(_unwrapped(source))
        if not isinstance(source, DeviceTensor):
            size = source.numel() * source.element_size()
            pinned = MEMORY.is_pinned(source)
            TRAFFIC.copies.append(Copy("device", size, non_blocking, pinned, place()))
            if not non_blocking:
                TRAFFIC.waits("copy from the host")
                TIMELINE.current(into.device.index).synchronize()
            elif pinned:
                before = source.clone()
                TIMELINE.arrives(into.device.index, lambda: _same(source, before))
    elif isinstance(source, DeviceTensor):
        _launch(copy, (into, source), {}, source.device.index)
        arrived = torch.empty_like(into).copy_(source.held)
        _to_host(into, arrived, source.device.index, non_blocking=non_blocking)


def _same(source: Tensor, before: Tensor) -> None:
    """Memory that a copy reads from is as it was when the copy was asked for."""
    now, then = (tensor.reshape(-1).view(torch.uint8) for tensor in (source, before))
    if not torch.equal(now, then):
        raise MissingWait("pinned memory was written to while it was copied to the device")


def _landed(into: Tensor, elements: Tensor) -> None:
    into.detach().copy_(elements)


def _to_host(into: Tensor, elements: Tensor, index: int, *, non_blocking: bool) -> None:
    """Elements go to the host; what isn't waited for is not there yet."""
    pinned = MEMORY.is_pinned(into)
    size = into.numel() * into.element_size()
    TRAFFIC.copies.append(Copy("host", size, non_blocking, pinned, place()))
    if non_blocking and pinned:
        if into.is_contiguous() and into.numel():
            # All bits set, which is NaN for what has one: to be read by nobody.
            into.detach().reshape(-1).view(torch.uint8).fill_(255)
        TIMELINE.arrives(index, lambda: _landed(into, elements))
    else:
        into.detach().copy_(elements)
        TRAFFIC.waits("copy to the host")
        TIMELINE.current(index).synchronize()
