"""What the trainer's step holds on a device, from sizes alone.

Weights, gradients and optimizer state are counted. Activations are multiples of one activation of
all tokens, U = 2 B S D bytes in 16 bit and twice that in fp32 (batch, sequence length, width). The
multiples are what `cvbundle rehearse` finds for the trainer's own step, and the tests hold them
against it; for sharded models they come from the same module without autocast.
"""

from attrs import frozen

from cvbundle.model.training_load import TrainingLoad

RESERVED = 1.30
"""What CUDA's allocator reserves of each byte of activations that come and go, block after block.

A fit to figures that were published as measured (zai-org/CogVideo#731; cogvideox-factory, now
finetrainers, examples/_legacy/training/README.md), with which these are met within 10 %.
"""
RESERVED_WHOLE = 1.03
"""The same where nothing is computed again: 43.8 GiB were reserved where 42.5 were allocated."""
_GATHERED = 2
"""Buffers that FSDP2 gathers a block's weights into, one for the next block and one for the last.

A block's weights are copied out of its buffer, which is freed once the next one's is copied too
(torch 2.13, distributed/fsdp/_fully_shard/_fsdp_param_group.py, `wait_for_unshard`); in a backward
pass a buffer is freed at once, and the next block is gathered while one is in use. The tests count
it in FSDP2 itself.
"""


@frozen(kw_only=True)
class _Activations:
    """What a step holds of activations, in U."""

    block: float
    """What autograd saves of one block; over frozen weights, without the adapter's part."""
    last: float
    """Beyond all saved blocks, where the backward pass begins."""
    again: float
    """Beyond one block, where the first is computed again."""
    end: float
    """Beyond one block, where the backward pass ends."""


_ADAPTER = _Activations(block=16.2, last=8.3, again=10.2, end=10.2)
_ADAPTER_FP32 = _Activations(block=12.0, last=8.1, again=8.1, end=8.1)
_ADAPTER_SHARDED = _Activations(block=11.0, last=8.3, again=8.3, end=8.3)
_ALL = _Activations(block=29.2, last=12.1, again=6.2, end=7.2)
_ALL_FP32 = _Activations(block=23.1, last=6.1, again=4.3, end=5.8)
_ALL_SHARDED = _Activations(block=22.0, last=12.0, again=5.0, end=5.8)
_FORWARD = 15.4
"""U, beyond the checkpoints, where the forward pass ends."""


def _activations(load: TrainingLoad) -> _Activations:
    """The row of the table for this training."""
    sharded = load.strategy.shards
    if load.adapter is None:
        full, half = _ALL_FP32, _ALL_SHARDED if sharded else _ALL
    else:
        full, half = _ADAPTER_FP32, _ADAPTER_SHARDED if sharded else _ADAPTER
    return full if load.weight_bytes == 4 else half


def held_bytes(load: TrainingLoad) -> int:
    """Weights and optimizer state between steps."""
    table = load.weight_bytes * load.positions
    if load.strategy.offloads:
        # A buffer is no parameter: FSDP2 leaves it on the device.
        return table
    frozen_weights = 0 if load.adapter is None else load.weight_bytes * load.parameters
    each = load.trained_bytes + load.moment_bytes + (4 if load.average else 0)
    return round((frozen_weights + each * load.trainable) / load.share + table)


def train_bytes(load: TrainingLoad, *, reserved: float = 1.0) -> int:
    """Peak of forward and backward; for activations that take `reserved` times their size."""
    # FSDP2 sums gradients over the processes after each batch, and each process keeps its share.
    gradients = 0.0 if load.strategy.offloads else load.gradients
    waiting = gradients if load.accumulates or load.buckets else 0.0
    moments = _moments(load)
    # What is computed last has no gradient yet.
    started = max(0.0, gradients - load.gradient_bytes * load.block / load.share)
    peak = max(
        gathered_bytes(load) + waiting + moments.forward_copies + reserved * moments.forward,
        gathered_backward_bytes(load) + waiting + moments.begin_copies + reserved * moments.begin,
        gathered_backward_bytes(load)
        + (waiting if waiting else gradients if load.adapter is not None else started)
        + moments.end_copies
        + reserved * moments.end,
    )
    return round(held_bytes(load) + peak)


@frozen(kw_only=True)
class _Moments:
    """Activations where they may be most, and 16-bit copies of trained weights with them."""

    forward: float
    forward_copies: float
    begin: float
    begin_copies: float
    end: float
    end_copies: float


def _moments(load: TrainingLoad) -> _Moments:
    rows, layers, unit = _activations(load), load.transformer.num_layers, load.unit
    saved = rows.block + (load.adapter or 0.0)
    copy = 2 * load.block if load.casts and load.adapter is None else 0
    copies = 2 * load.trainable if load.casts else 0
    if not load.checkpointing:
        begin, begin_copies = layers * saved + rows.last, copy * layers
        forward = begin - rows.last
    else:
        kept = 0.0
        if load.checkpointing == "selective":
            # Attention's output, and a number in fp32 for each token and head.
            kept = 1 + 4 / (load.weight_bytes * load.transformer.attention_head_dim)
        # The last block's is among what is saved of it.
        begin, begin_copies = layers + (layers - 1) * kept + saved + rows.again, copy
        forward = layers * (1 + kept) + _FORWARD
    return _Moments(
        forward=forward * unit,
        forward_copies=copies,
        begin=begin * unit,
        begin_copies=begin_copies,
        end=(saved + rows.end) * unit,
        end_copies=copy,
    )


def gathered_bytes(load: TrainingLoad) -> float:
    """Weights of a sharded model that are whole in a forward pass, in the type of activations."""
    if not load.strategy.shards:
        return 0.0
    blocks = 1 if load.strategy.reshards else load.transformer.num_layers
    return load.weight_bytes * (_outside(load) + (blocks + _GATHERED) * load.block)


def gathered_backward_bytes(load: TrainingLoad) -> float:
    """The same in a backward pass, and a block's gradients while they are summed."""
    if not load.strategy.shards:
        return 0.0
    blocks = 2 if load.strategy.reshards else load.transformer.num_layers
    # In the type of activations, and in fp32 for the sum.
    summed = (load.weight_bytes + 4) * load.block if load.adapter is None else 0
    return load.weight_bytes * (_outside(load) + blocks * load.block) + summed


def _outside(load: TrainingLoad) -> int:
    """Parameters outside the blocks."""
    return load.parameters - load.transformer.num_layers * load.block


def step_bytes(load: TrainingLoad) -> int:
    """The optimizer's step: torch's fused kernels make no copy of what they update."""
    gradients = 0.0 if load.strategy.offloads else load.gradients
    return round(held_bytes(load) + gradients + load.inputs)


def reserved_share(load: TrainingLoad) -> float:
    """What the allocator reserves of each byte of activations."""
    return RESERVED if load.checkpointing else RESERVED_WHOLE
