"""What the machines must have: processes that share the work, and memory."""

from collections.abc import Iterator

from attrs import evolve

from cvbundle.model.identify import BaseModel
from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import Lora, Resolution, Spec
from cvbundle.spec.tables.strategies import STRATEGIES


@rule(
    "batch-not-divisible",
    Severity.ERROR,
    why="Each machine runs as many processes as every other one, and each process takes the same "
    "share of the global batch.",
    source="accelerate utils/launch.py:216-224: nproc_per_node = num_processes // num_machines",
    reads=("launch.num_processes", "launch.num_machines"),
    good={"launch.strategy": "ddp", "launch.num_processes": 4, "launch.num_machines": 2},
    bad={"launch.strategy": "ddp", "launch.num_processes": 3, "launch.num_machines": 2},
)
def batch_not_divisible(subject: Subject) -> Iterator[Finding]:
    """The processes are as many on each machine."""
    launch = subject.spec.launch
    if launch.num_processes % launch.num_machines:
        whole = -(-launch.num_processes // launch.num_machines) * launch.num_machines
        yield Finding.write(
            "launch.num_processes",
            f"{launch.num_processes} processes can't be split evenly over {launch.num_machines} "
            "machines, nor the global batch over them",
            whole,
            otherwise="launch.num_machines",
        )


@rule(
    "strategy-single",
    Severity.ERROR,
    why="`single` is one process; others would be left out silently.",
    source="accelerate 1.15.0 commands/launch.py, `launch_command`: what is neither sharded nor on "
    "several GPUs goes to `simple_launcher`, which starts one process",
    reads=("launch.strategy", "launch.num_processes"),
    good={"launch.strategy": "ddp", "launch.num_processes": 2},
    bad={"launch.strategy": "single", "launch.num_processes": 2},
)
def strategy_single(subject: Subject) -> Iterator[Finding]:
    """Several processes have a strategy."""
    launch = subject.spec.launch
    if not launch.kind.several and launch.num_processes > 1:
        yield Finding.write(
            "launch.strategy",
            f"{launch.strategy} is one process, not {launch.num_processes}",
            "ddp",
            otherwise="launch.num_processes",
        )


@rule(
    "strategy-optimizer",
    Severity.ERROR,
    why="The other optimizers look at a whole weight at once, or keep states of another shape, and "
    "a process of a sharded model has only a part.",
    source="bitsandbytes quantises in blocks of what it is given; prodigyopt and came_pytorch sum "
    "over whole weights",
    reads=("launch.strategy", "optimizer.name"),
    good={"launch.strategy": "fsdp", "optimizer.name": "adamw"},
    bad={
        "launch.strategy": "fsdp",
        "optimizer.name": "prodigy",
        "training.learning_rate": 1.0,
    },
)
def strategy_optimizer(subject: Subject) -> Iterator[Finding]:
    """A sharded model's optimizer works on parts of a weight."""
    spec = subject.spec
    if spec.launch.kind.shards and not spec.optimizer.kind.shardable:
        yield Finding.write(
            "optimizer.name",
            f"{spec.optimizer.name} can't be used with {spec.launch.strategy}",
            "adamw",
            otherwise="launch.strategy",
        )


@rule(
    "memory",
    Severity.WAIVABLE,
    why="A run that needs more memory than a device has fails, often only after all clips are "
    "encoded.",
    source="zai-org/CogVideo finetune/README.md:14-31 and issue 731; a-r-r-o-w/finetrainers "
    "examples/_legacy/training/README.md: within 10 % of their figures on one device",
    reads=(
        "launch.gpu",
        "launch.gpu_memory_gib",
        "launch.strategy",
        "launch.num_processes",
        "model.type",
        "data.resolution",
        "data.vae_tiling",
        "training.type",
        "training.batch_size",
        "training.gradient_accumulation_steps",
        "training.mixed_precision",
        "training.gradient_checkpointing",
        "training.ema_decay",
        "lora.rank",
        "lora.target_modules",
        "optimizer.name",
        "validation",
    ),
    needs_model=True,
    good={"model.path": "THUDM/CogVideoX-5b", "launch.gpu_memory_gib": 24},
    bad={"model.path": "THUDM/CogVideoX-5b", "launch.gpu_memory_gib": 16},
)
def memory(subject: Subject) -> Iterator[Finding]:
    """The estimate fits into one device."""
    spec, available = subject.spec, subject.spec.launch.memory_gib
    if available is None:
        return
    # Few specs state what a device has.
    from cvbundle.model.memory import GIB, estimate, in_gib

    room = available * GIB
    needed = estimate(spec, subject.model)
    if needed.peak > room:
        largest = max(needed.phases, key=lambda phase: phase.bytes)
        yield Finding(
            "launch.gpu" if spec.launch.gpu_memory_gib is None else "launch.gpu_memory_gib",
            f"the {largest.name.replace('_', ' ')} phase needs about {in_gib(needed.peak)} "
            f"of {available:g} GiB ({needed.note})",
            _fitting(spec, subject.model, room),
        )


def _fitting(spec: Spec, model: BaseModel, room: float) -> str:
    """Settings that make the estimate fit: each by itself where one is enough, else together."""
    from cvbundle.model.memory import estimate, in_gib

    changes = list(_savings(spec, model))
    fits = [text for text, changed in changes if estimate(changed, model).peak <= room]
    if fits:
        return f"fits with {' or '.join(fits[:3])}"
    together, texts = spec, []
    peak = estimate(spec, model).peak
    for _ in range(len(changes)):
        step = min(
            _savings(together, model),
            key=lambda change: estimate(change[1], model).peak,
            default=None,
        )
        if step is None or (smaller := estimate(step[1], model).peak) >= peak:
            break
        texts.append(step[0])
        together, peak = step[1], smaller
        if peak <= room:
            return f"fits with {' and '.join(texts)}"
    tried = f" even with {' and '.join(texts)}" if texts else ""
    return f"needs {in_gib(peak)}{tried}: a larger device"


def _savings(spec: Spec, model: BaseModel) -> Iterator[tuple[str, Spec]]:
    """Single settings that save memory, those that change the result least first."""
    training = spec.training
    if training.gradient_checkpointing is not True:
        changed = evolve(training, gradient_checkpointing=True)
        yield "training.gradient_checkpointing: true", evolve(spec, training=changed)
    if not spec.data.vae_tiling:
        yield "data.vae_tiling: true", evolve(spec, data=evolve(spec.data, vae_tiling=True))
    if training.batch_size > 1:
        whole = training.batch_size * training.gradient_accumulation_steps
        changed = evolve(training, batch_size=1, gradient_accumulation_steps=whole)
        text = f"training.batch_size: 1 with training.gradient_accumulation_steps: {whole}"
        yield text, evolve(spec, training=changed)
    if training.mixed_precision == "no":
        changed = evolve(training, mixed_precision=model.precision)
        yield f"training.mixed_precision: {model.precision}", evolve(spec, training=changed)
    for strategy in _strategies(spec):
        changed_launch = evolve(spec.launch, strategy=strategy)
        yield f"launch.strategy: {strategy}", evolve(spec, launch=changed_launch)
    if spec.lora is not None and spec.lora.rank > 16:
        rank = spec.lora.rank // 2
        changed_lora = evolve(spec.lora, rank=rank)
        yield f"lora.rank: {rank}", evolve(spec, lora=changed_lora)
    if spec.lora is None:
        lighter = spec.optimizer.kind.lighter
        if lighter is not None:
            small = evolve(spec.optimizer, name=lighter)
            yield f"optimizer.name: {lighter}", evolve(spec, optimizer=small)
        changed = evolve(training, type="lora")
        yield "training.type: lora", evolve(spec, training=changed, lora=Lora())
    size = spec.data.resolution
    stride = 2 * model.architecture.vae.temporal_compression_ratio
    fixed = model.architecture.transformer.use_learned_positional_embeddings
    if size.frames > stride + 1 and not fixed:
        half = Resolution((size.frames - 1) // (2 * stride) * stride + 1, size.height, size.width)
        yield f"data.resolution: {half}", evolve(spec, data=evolve(spec.data, resolution=half))


def _strategies(spec: Spec) -> tuple[str, ...]:
    """Those that leave less on the device, where the optimizer works on parts of a weight."""
    current = spec.launch.kind
    return tuple(
        kind.name
        for kind in STRATEGIES.values()
        if kind.shards
        and kind.name != current.name
        # One process has nobody to share with.
        and (kind.offloads if not current.several or current.offloads else kind.reshards)
    )
