"""How long a step takes and how large what it leaves is, from sizes alone.

A step's arithmetic is counted exactly (the tests hold it against what `cvbundle rehearse` counts);
how much of a device's rate it reaches is a range, which no GPU has confirmed yet. Where earlier
runs measured a step on such a device, what they measured takes the range's place.
"""

from collections.abc import Iterable

from attrs import frozen

from cvbundle.model.memory import in_gib
from cvbundle.model.modules import lora_targets
from cvbundle.model.training_load import TrainingLoad, training_load
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.gpus import Gpu

_ATTENTION_BACKWARD = 2.5
"""Of the forward: five products instead of two (Dao, arXiv 2205.14135, algorithm 4)."""


_SAME = 0.01
"""Steps whose arithmetic differs by no more of it take the same time."""
_SCALED = 4
"""Up to so many times more or less arithmetic, time is taken to go with it.

A smaller step fills a device less, so that what is measured of one says little of a large one.
"""


@frozen(kw_only=True)
class MeasuredStep:
    """A step that a run measured on some device, and what its time depends on."""

    bundle: str
    run: str
    seconds: float
    flops: int
    """Floating point operations of a step on one device."""
    precision: str
    deterministic: bool
    strategy: str

    @property
    def name(self) -> str:
        """Its bundle and run, as `2802c1f0a9d3e4b5/0001`."""
        return f"{self.bundle}/{self.run}"


@frozen(kw_only=True)
class TrainingEstimate:
    """What training computes and leaves; encoding and validations take their time on top."""

    steps: int
    step_flops: int
    """Floating point operations of an optimizer step on one device."""
    checkpoint_bytes: int
    """One checkpoint on the disk."""
    kept_checkpoints: int
    """How many there are in the end; one more while the last is written."""
    gpu: str | None
    """The device that the times are for; None where nobody has named one."""
    seconds: tuple[float, float] | None
    """Of a step, at least and at most; None without a device, or one that can't do the type."""
    measured_in: tuple[str, ...] = ()
    """The runs that the times are measured in, as bundle/run; empty where they are estimated."""
    scaled: bool = False
    """Whether those runs' steps had other arithmetic, for which their time was scaled."""

    @property
    def hours(self) -> tuple[float, float] | None:
        """Of all steps."""
        if self.seconds is None:
            return None
        return self.seconds[0] * self.steps / 3600, self.seconds[1] * self.steps / 3600


def estimate_training(
    spec: Spec, architecture: Architecture, samples: int, earlier: Iterable[MeasuredStep] = ()
) -> TrainingEstimate:
    """What a bundle's training computes, how long that takes, and what it leaves.

    Args:
        spec: the bundle's settings.
        architecture: of its base model.
        samples: in its manifest.
        earlier: what runs measured on devices such as `launch.gpu`.
    """
    flops, steps, gpu = (
        step_flops(spec, architecture),
        spec.total_steps(samples),
        spec.launch.device,
    )
    known = () if gpu is None else _comparable(spec, flops, earlier)
    seconds = None if gpu is None else step_seconds(flops, gpu, spec.training.mixed_precision)
    if known:
        each = [step.seconds * flops / step.flops for step in known]
        seconds = min(each), max(each)
    return TrainingEstimate(
        steps=steps,
        step_flops=flops,
        checkpoint_bytes=checkpoint_bytes(spec, architecture),
        kept_checkpoints=kept_checkpoints(spec, steps),
        gpu=None if gpu is None else gpu.title,
        seconds=seconds,
        measured_in=tuple(step.name for step in known),
        scaled=any(not _is_same(flops, step) for step in known),
    )


def _comparable(
    spec: Spec, flops: int, earlier: Iterable[MeasuredStep]
) -> tuple[MeasuredStep, ...]:
    """Steps of the same type, kernels and strategy: of the same arithmetic, else of similar."""
    training = spec.training
    alike = [
        step
        for step in earlier
        if step.precision == training.mixed_precision
        and step.deterministic == training.deterministic
        and step.strategy == spec.launch.strategy
        and flops / _SCALED <= step.flops <= flops * _SCALED
    ]
    return tuple([step for step in alike if _is_same(flops, step)] or alike)


def _is_same(flops: int, step: MeasuredStep) -> bool:
    return abs(step.flops - flops) <= _SAME * flops


def step_seconds(flops: int, gpu: Gpu, precision: str) -> tuple[float, float] | None:
    """Seconds for so many operations, at least and at most; None where a type is not supported."""
    rate = gpu.rate(precision)
    if rate is None:
        return None
    slow, fast = (flops / (rate * 1e12 * share) for share in gpu.utilization)
    return fast, slow


def step_flops(spec: Spec, architecture: Architecture) -> int:
    """Operations of an optimizer step on one device: two for a multiplication and an addition."""
    load = training_load(spec, architecture)
    linear, attention = _forward_linear(load), _forward_attention(load)
    adapter = 0.0
    if spec.lora is not None:
        adapter = _forward_adapter(load, spec.lora.target_modules, spec.lora.rank)
    again = {False: (0, 0), True: (1, 1), "selective": (1, 0)}[load.checkpointing]
    # Frozen weights have no gradient: their backward is one product, not two.
    backward = 1 if spec.lora is not None else 2
    batch = (
        linear * (1 + again[0] + backward)
        + adapter * (1 + again[0] + 2)
        + attention * (1 + again[1] + _ATTENTION_BACKWARD)
    )
    return round(batch * spec.training.gradient_accumulation_steps)


def _forward_linear(load: TrainingLoad) -> float:
    """4 D^2 of attention's projections and 8 D^2 of the feed-forward, for each token and block."""
    width = load.transformer.inner_dim
    return 2 * 12 * width**2 * load.batch * load.tokens * load.transformer.num_layers


def _forward_attention(load: TrainingLoad) -> float:
    """Two products of all tokens with all tokens, in each block."""
    width = load.transformer.inner_dim
    return 4 * width * load.batch * load.tokens**2 * load.transformer.num_layers


def _forward_adapter(load: TrainingLoad, targets: tuple[str, ...], rank: int) -> float:
    """Both products of LoRA, where its layer sees every token and not only the timestep."""
    adapted = {m for target in targets for m in lora_targets(load.transformer, target)}
    seen = sum(m.lora_parameters(rank) for m in adapted if ".attn1." in m.name or ".ff." in m.name)
    return 2 * seen * load.batch * load.tokens


def checkpoint_bytes(spec: Spec, architecture: Architecture) -> int:
    """One checkpoint: the trained weights, the optimizer's state, and the average if any."""
    load = training_load(spec, architecture)
    each = load.trained_bytes + load.moment_bytes + (4 if load.average else 0)
    return each * load.trainable


def kept_checkpoints(spec: Spec, steps: int) -> int:
    """How many checkpoints are on the disk in the end; one more while the last is written."""
    made = -(-steps // spec.checkpointing.steps)
    return made if spec.checkpointing.limit is None else min(made, spec.checkpointing.limit)


def render_seconds(seconds: tuple[float, float]) -> str:
    """A range of seconds for a person: `3.9 to 5.3 s`."""
    return f"{_range(seconds)} s"


def render_training(found: TrainingEstimate) -> str:
    """The estimate as lines of text."""
    lines = [
        f"a step: {found.step_flops / 1e12:,.4g} TFLOP on each device{_on(found)}",
        f"checkpoints: {found.kept_checkpoints} of {in_gib(found.checkpoint_bytes)}",
    ]
    if found.hours is not None:
        lines.insert(1, f"{found.steps:,} steps: {_range(found.hours)} h, encoding not counted")
    return "\n".join(lines)


def _on(found: TrainingEstimate) -> str:
    if found.gpu is None:
        return ""
    if found.seconds is None:
        return f"; {found.gpu} has no arithmetic in this type"
    return f", {render_seconds(found.seconds)} on {found.gpu}{_measured(found)}"


def _measured(found: TrainingEstimate) -> str:
    if not found.measured_in:
        return ""
    first, *others = found.measured_in
    more = f" and {len(others)} other run{'s' if len(others) > 1 else ''}" if others else ""
    scaled = ", scaled by arithmetic" if found.scaled else ""
    return f" (measured in {first}{more}{scaled})"


def _range(ends: tuple[float, float]) -> str:
    """One number where both ends read the same."""
    return " to ".join(dict.fromkeys(map(_number, ends)))


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
