"""What is alive on a device while code runs on fake tensors, and the arithmetic that it does.

A fake tensor has a shape, a type and a storage of no memory, so a step of any size runs in seconds.
What is alive is followed by storages: views share one, and autograd keeps one alive that no Python
object points to.
"""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from attrs import define, field
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import (
    flop_registry,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

Kind = Literal["weights", "gradients", "optimizer", "encoder", "activations"]

_aten = torch.ops.aten
_ATTENTION = _aten._scaled_dot_product_flash_attention_for_cpu.default
_ATTENTION_BACKWARD = _aten._scaled_dot_product_flash_attention_for_cpu_backward.default
_NOT_MADE_OF_OTHERS = (torch.ops.prim.device.default,)


@define
class Peak:
    """The most bytes that were alive at a time, and what they were."""

    bytes: int = 0
    of: Mapping[Kind, int] = field(factory=dict)


class LiveBytes(TorchDispatchMode):
    """Follows every storage that operators make while the mode is on.

    Operators allocate what they return. Beyond that only the backward of flash attention is known
    to hold something large, sums of the queries' gradients (`splits` of them); workspaces of cuDNN
    and cuBLAS are not counted.
    """

    def __init__(self, splits: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._splits = splits
        self._known: dict[int, _Storage] = {}
        self._now: dict[Kind, int] = dict.fromkeys(_KINDS, 0)
        self._peak = Peak()
        self.flops = 0

    @property
    def bytes(self) -> int:
        """What is alive now."""
        return sum(self._now.values())

    def of(self, kind: Kind) -> int:
        """What is alive now of a kind."""
        return self._now[kind]

    def name(self, tensors: Iterable[Tensor], kind: Kind) -> None:
        """Say what some tensors are; what nobody names are activations."""
        for tensor in tensors:
            self._follow(tensor)
            storage = self._known[tensor.untyped_storage()._cdata]
            self._now[storage.kind] -= storage.bytes
            self._now[kind] += storage.bytes
            storage.kind = kind

    def begin(self) -> Peak:
        """Start a new peak; the one before is as it stands."""
        self._peak = Peak()
        self._look()
        return self._peak

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operator and follow what it returns."""
        kwargs = kwargs or {}
        if func not in _NOT_MADE_OF_OTHERS and func.overloadpacket not in flop_registry:
            # In inference mode autograd has not taken apart what is made of other operators.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf)
        self.flops += _flops(func, args, kwargs, result)
        if func is _ATTENTION_BACKWARD:
            self._look(_query_sums(args[1], self._splits))
        return result

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        kind: Kind = "activations"

        def gone(_: object) -> None:
            lost = self._known.pop(key)
            self._now[lost.kind] -= lost.bytes

        self._known[key] = _Storage(storage.nbytes(), kind, weakref.ref(storage, gone))
        self._now[kind] += storage.nbytes()
        self._look()

    def _look(self, besides: int = 0) -> None:
        alive = self.bytes + besides
        if alive > self._peak.bytes:
            self._peak.bytes = alive
            self._peak.of = {**self._now, "activations": self._now["activations"] + besides}


_KINDS: tuple[Kind, ...] = ("weights", "gradients", "optimizer", "encoder", "activations")


@define
class _Storage:
    bytes: int
    kind: Kind
    reference: "weakref.ref[torch.UntypedStorage]"
    """Calls back when the storage is gone; has to be kept for that."""


def flash_splits(processors: int, batch: int, heads: int) -> int:
    """How many sums of the queries' gradients a deterministic backward holds.

    One each for so many groups of blocks as fit on the device's multiprocessors at a time
    (flash-attention, csrc/flash_attn/flash_api.cpp, `mha_bwd`: `dq_accum`).
    """
    return -(-processors // (batch * heads))


def _query_sums(query: Tensor, splits: int) -> int:
    """Bytes of the fp32 sums of the queries' gradients; the kernel is for 16-bit numbers only."""
    return 4 * query.numel() * splits if query.element_size() == 2 else 0


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Floating point operations, as torch counts them: two for a multiplication and addition."""
    if func is _ATTENTION:
        return int(sdpa_flop_count(args[0].shape, args[1].shape, args[2].shape))
    if func is _ATTENTION_BACKWARD:
        return int(sdpa_backward_flop_count(*(tensor.shape for tensor in args[:4])))
    counted = flop_registry.get(func.overloadpacket if hasattr(func, "overloadpacket") else func)
    return 0 if counted is None else int(counted(*args, **kwargs, out_val=result))
