"""What torch looks up by the device's own key: makers of tensors, attention, mixed precision."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKeySet

from tests.training.simgpu.tensor import NAME, DeviceTensor, _made, copy_to, drawn, index_of

_LOWER = """
    _convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d.input
    conv_transpose3d.input convolution prelu addmm addmv addr matmul einsum mm mv linalg_vecdot
    linear addbmm baddbmm bmm scaled_dot_product_attention
"""
"""Operators that autocast gives its own type on CUDA (ATen/autocast_mode.h, torch 2.13)."""

_FP32 = """
    acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan
    pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar softplus layer_norm native_layer_norm rms_norm
    group_norm frobenius_norm.dim nuclear_norm cosine_similarity nll_loss kl_div l1_loss
    smooth_l1_loss huber_loss mse_loss binary_cross_entropy_with_logits dist cdist renorm logsumexp
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d
    upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
"""
"""Those that it gives fp32."""

_FP32_RESULT = """
    prod prod.dim_int softmax.int log_softmax.int cumprod cumsum linalg_vector_norm
    linalg_matrix_norm sum sum.dim_IntList
"""
"""Those whose result it makes fp32, unless a type is asked for."""

_WIDEST = """
    addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add
    cat stack
"""
"""Those whose arguments all get the widest type among them."""

_libraries: list[torch.library.Library] = []


def register() -> None:
    """Register all of it; once in a process, which can't take it back."""
    aten = torch.library.Library("aten", "IMPL")
    others = torch.library.Library("_", "IMPL")
    _libraries.extend((aten, others))
    for operator in _makers():
        aten.impl(operator, _maker(operator), "PrivateUse1")
    aten.impl("_copy_from", _copy_from, "PrivateUse1")
    aten.impl("scaled_dot_product_attention", _attention, "AutogradPrivateUse1")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for names, cast in (
        (_LOWER, _lower),
        (_FP32, _fp32),
        (_FP32_RESULT, _fp32_result),
        (_WIDEST, _widest),
    ):
        for name in names.split():
            packet, _, overload = name.partition(".")
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default", None)
            operator = operator or next(_overloads(getattr(torch.ops.aten, packet)))
            aten.impl(operator, _autocast(operator, cast), "AutocastPrivateUse1")


def _overloads(packet: Any) -> Iterator[Any]:
    for name in packet.overloads():
        yield getattr(packet, name)


def _makers() -> Iterator[Any]:
    """Every operator that makes a tensor on a device from no other tensor."""
    for name in dir(torch.ops.aten):
        packet = getattr(torch.ops.aten, name)
        if not isinstance(packet, torch._ops.OpOverloadPacket):
            continue
        for operator in _overloads(packet):
            schema = operator._schema
            from_others = any("Tensor" in str(argument.type) for argument in schema.arguments)
            named = any(argument.name == "device" for argument in schema.arguments)
            one = [str(result.type) for result in schema.returns] == ["Tensor"]
            if named and one and not from_others:
                yield operator


def _maker(operator: Any) -> Callable[..., Tensor]:
    seeded = torch.Tag.nondeterministic_seeded in operator.tags

    def kernel(
        *args: Any,
        device: torch.device | None = None,
        pin_memory: bool | None = None,
        **options: Any,
    ) -> Tensor:
        if pin_memory:
            raise RuntimeError("Only dense CPU tensors can be pinned")
        index = index_of(device)
        if options.get("generator") is not None:
            raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")

        def make() -> Tensor:
            made: Tensor = operator(*args, device="cpu", **options)
            return made

        made: Tensor = _made(drawn(index, make) if seeded else make(), index)
        return made

    return kernel


def _copy_from(source: Tensor, into: Tensor, non_blocking: bool = False) -> Tensor:
    copy_to(into, source, non_blocking=non_blocking)
    return into


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """The CPU's flash kernel where it takes these arguments, as GPUs have one; else the plain."""
    aten = torch.ops.aten
    plain = [t.held if isinstance(t, DeviceTensor) else t for t in (query, key, value)]
    mask = attn_mask.held if isinstance(attn_mask, DeviceTensor) else attn_mask
    flash = int(torch.nn.attention.SDPBackend.FLASH_ATTENTION.value)
    if aten._fused_sdp_choice(*plain, mask, dropout_p, is_causal, **options) == flash:
        scale = options.get("scale")
        result = aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
        )
    else:
        result = aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, **options
        )
    found: Tensor = result[0]
    return found


def _autocast(operator: Any, cast: Callable[..., Any]) -> Callable[..., Any]:
    key = torch._C._parse_dispatch_key("AutocastPrivateUse1")
    assert key is not None
    own = DispatchKeySet(key)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(own):
            return cast(operator, args, kwargs)

    return kernel


def _lower(operator: Any, args: Any, kwargs: Any) -> Any:
    dtype = torch.get_autocast_dtype(NAME)
    return operator(*_cast(args, dtype), **_cast(kwargs, dtype))


def _fp32(operator: Any, args: Any, kwargs: Any) -> Any:
    return operator(*_cast(args, torch.float32), **_cast(kwargs, torch.float32))


def _fp32_result(operator: Any, args: Any, kwargs: Any) -> Any:
    first = args[0]
    if _is_eligible(first) and kwargs.get("dtype") is None:
        kwargs = {**kwargs, "dtype": torch.float32}
    return operator(*args, **kwargs)


def _widest(operator: Any, args: Any, kwargs: Any) -> Any:
    lower = torch.get_autocast_dtype(NAME)
    types = {t.dtype for t in _tensors((args, kwargs)) if _is_eligible(t)}
    dtype = torch.float32 if torch.float32 in types else lower
    return operator(*_cast(args, dtype), **_cast(kwargs, dtype))


def _is_eligible(value: Any) -> bool:
    return (
        isinstance(value, DeviceTensor)
        and value.is_floating_point()
        and value.dtype is not torch.float64
    )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if _is_eligible(value):
        return value.to(dtype)
    if isinstance(value, dict):
        return {name: _cast(inner, dtype) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast(inner, dtype) for inner in value)
    return value
