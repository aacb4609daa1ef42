"""Rules about the length of a run, its schedule and its intervals."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import LrScheduler


@rule(
    "steps-or-epochs",
    Severity.ERROR,
    why="The length of a run is either a number of steps or a number of passes over the data.",
    source="zai-org/CogVideo finetune/trainer.py: train_steps silently overrides train_epochs",
    reads=("training.steps", "training.epochs"),
    good={"training.steps": 1000},
    bad={"training.steps": 1000, "training.epochs": 10},
)
def steps_or_epochs(subject: Subject) -> Iterator[Finding]:
    """Exactly one of `training.steps` and `training.epochs` is set."""
    training = subject.spec.training
    if training.steps is None and training.epochs is None:
        yield Finding.write("training.steps", "neither steps nor epochs is set", 1000)
    if training.steps is not None and training.epochs is not None:
        later = subject.later("training.steps", "training.epochs")
        yield Finding(
            later, "both steps and epochs are set", "remove one of them, or set it to null"
        )


@rule(
    "warmup-exceeds-steps",
    Severity.ERROR,
    why="The learning rate would never reach its full value.",
    source="diffusers optimization.py: warmup counts optimizer steps",
    reads=(
        "training.steps",
        "training.epochs",
        "lr_scheduler.warmup_steps",
        "lr_scheduler.name",
    ),
    by_length=True,
    good={"training.steps": 1000, "lr_scheduler.warmup_steps": 100},
    bad={"training.steps": 200, "lr_scheduler.warmup_steps": 500},
)
def warmup_exceeds_steps(subject: Subject) -> Iterator[Finding]:
    """Warmup ends before the run does."""
    schedule, run = subject.spec.lr_scheduler, subject.run_length
    if run is None or schedule.name == "constant":
        return
    # The polynomial schedule divides by the number of steps after the warmup.
    longest = run.steps - 1 if schedule.name == "polynomial" else run.steps
    if schedule.warmup_steps > longest:
        yield Finding.write(
            "lr_scheduler.warmup_steps",
            f"{schedule.warmup_steps} steps of warmup in a run of {run.text}",
            run.steps // 10,
            otherwise=run.field,
        )


@rule(
    "validation-interval",
    Severity.ERROR,
    why="A validation needs a checkpoint, so that its samples can be reproduced.",
    source="zai-org/CogVideo finetune/schemas/args.py: validation_steps % checkpointing_steps",
    reads=("validation.steps", "checkpointing.steps"),
    good={
        "checkpointing.steps": 200,
        "validation.steps": 400,
        "validation.prompts": ["A cat walks."],
    },
    bad={
        "checkpointing.steps": 200,
        "validation.steps": 300,
        "validation.prompts": ["A cat walks."],
    },
)
def validation_interval(subject: Subject) -> Iterator[Finding]:
    """The validation interval is a multiple of the checkpoint interval."""
    validation = subject.spec.validation
    every = subject.spec.checkpointing.steps
    if validation is not None and validation.steps % every:
        near = max(1, (2 * validation.steps + every) // (2 * every)) * every
        yield Finding.write(
            "validation.steps",
            f"{validation.steps} is not a multiple of checkpointing.steps ({every})",
            near,
        )


@rule(
    "checkpoint-never",
    Severity.WARNING,
    why="The first checkpoint would come after the end: a run that is killed starts over.",
    source="cvbundle training/steps.py: saves after steps that checkpointing.steps divides",
    reads=("training.steps", "training.epochs", "checkpointing.steps"),
    by_length=True,
    good={"training.steps": 1000, "checkpointing.steps": 500},
    bad={"training.steps": 1000, "checkpointing.steps": 2000},
)
def checkpoint_never(subject: Subject) -> Iterator[Finding]:
    """The run reaches its first checkpoint."""
    run, every = subject.run_length, subject.spec.checkpointing.steps
    if run is None or every <= run.steps:
        return
    yield Finding.write(
        "checkpointing.steps",
        f"a checkpoint every {every} steps in a run of {run.text}",
        max(1, run.steps // 5),
        otherwise=run.field,
    )


@rule(
    "validation-never",
    Severity.WARNING,
    why="The first validation would come after the end: no samples are made.",
    source="cvbundle training/validate.py: validates after steps that validation.steps divides",
    reads=("training.steps", "training.epochs", "checkpointing.steps", "validation.steps"),
    by_length=True,
    good={
        "training.steps": 1000,
        "checkpointing.steps": 500,
        "validation.steps": 1000,
        "validation.prompts": ["A cat walks."],
    },
    bad={
        "training.steps": 1000,
        "checkpointing.steps": 500,
        "validation.steps": 1500,
        "validation.prompts": ["A cat walks."],
    },
)
def validation_never(subject: Subject) -> Iterator[Finding]:
    """The run reaches its first validation."""
    run, validation = subject.run_length, subject.spec.validation
    if run is None or validation is None or validation.steps <= run.steps:
        return
    every = subject.spec.checkpointing.steps
    last = run.steps // every * every
    message = f"a validation every {validation.steps} steps in a run of {run.text}"
    if last:
        yield Finding.write("validation.steps", message, last)
    else:
        # No multiple of the checkpoint interval is short enough.
        yield Finding("validation.steps", message, "lower checkpointing.steps and this one")


_USED_BY = {
    "warmup_steps": (
        "constant_with_warmup",
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
    ),
    "num_cycles": ("cosine_with_restarts",),
    "power": ("polynomial",),
}
"""The schedules that use a setting; `cosine` gets no cycles."""


@rule(
    "schedule-unused",
    Severity.WARNING,
    why="The schedule doesn't use this setting, so it has no effect.",
    source="diffusers 0.42.1, optimization.py, get_scheduler",
    reads=(
        "lr_scheduler.name",
        "lr_scheduler.warmup_steps",
        "lr_scheduler.num_cycles",
        "lr_scheduler.power",
    ),
    good={"lr_scheduler.name": "cosine_with_restarts", "lr_scheduler.num_cycles": 3},
    bad={"lr_scheduler.name": "cosine", "lr_scheduler.num_cycles": 3},
)
def schedule_unused(subject: Subject) -> Iterator[Finding]:
    """Settings that the schedule doesn't use are at their defaults."""
    schedule = subject.spec.lr_scheduler
    for name, users in _USED_BY.items():
        value, default = getattr(schedule, name), getattr(LrScheduler(), name)
        # 0 is accepted: it is what such a schedule does.
        if schedule.name in users or value in (default, 0):
            continue
        yield Finding(
            f"lr_scheduler.{name}",
            f"{schedule.name} has no {name}: it is ignored",
            f"remove it, or write lr_scheduler.name: {users[0]}",
        )


@rule(
    "polynomial-end",
    Severity.ERROR,
    why="The polynomial schedule ends at 1e-7, and fails before the first step unless the learning "
    "rate is higher.",
    source="diffusers 0.42.1, optimization.py: lr_end must be smaller than initial lr",
    reads=("lr_scheduler.name", "training.learning_rate"),
    good={"lr_scheduler.name": "polynomial", "training.learning_rate": 1e-4},
    bad={"lr_scheduler.name": "polynomial", "training.learning_rate": 1e-7},
)
def polynomial_end(subject: Subject) -> Iterator[Finding]:
    """A polynomial schedule starts above its final learning rate."""
    rate = subject.spec.training.learning_rate
    if subject.spec.lr_scheduler.name == "polynomial" and rate <= _POLYNOMIAL_END:
        yield Finding(
            "training.learning_rate",
            f"{rate:g} is not above {_POLYNOMIAL_END:g}, where the polynomial schedule ends",
            "write a larger one, such as 1e-4, or another lr_scheduler.name",
            otherwise="lr_scheduler.name",
        )


_POLYNOMIAL_END = 1e-7
