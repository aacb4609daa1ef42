"""How long a run is, and what happens on the way."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule
from cvbundle.spec.schema import LrScheduler


@rule(
    "steps-or-epochs",
    Severity.ERROR,
    why="The length of a run is either a number of steps or a number of passes over the data.",
    source="design, section 3",
    reads=("training.steps", "training.epochs"),
    good={"training.steps": 1000},
    bad={"training.steps": 1000, "training.epochs": 10},
)
def steps_or_epochs(subject: Subject) -> Iterator[Finding]:
    """Exactly one of the two."""
    training = subject.spec.training
    if training.steps is None and training.epochs is None:
        yield Finding("training.steps", "neither steps nor epochs are given", "write 1000")
    if training.steps is not None and training.epochs is not None:
        later = subject.later("training.steps", "training.epochs")
        yield Finding(
            later, "both steps and epochs are given", "remove one of them, or set it to null"
        )


@rule(
    "warmup-exceeds-steps",
    Severity.ERROR,
    why="The learning rate would never reach its value.",
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
    # The polynomial's decay is over the steps after the warmup: it divides by their number.
    longest = run.steps - 1 if schedule.name == "polynomial" else run.steps
    if schedule.warmup_steps > longest:
        yield Finding.write(
            "lr_scheduler.warmup_steps",
            f"{schedule.warmup_steps} steps of warmup in a run of {run.told}",
            run.steps // 10,
            otherwise=run.field,
        )


@rule(
    "validation-interval",
    Severity.ERROR,
    why="A validation belongs to a checkpoint, so that its samples can be made again.",
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
    source="design, section 4",
    reads=("training.steps", "training.epochs", "checkpointing.steps"),
    by_length=True,
    good={"training.steps": 1000, "checkpointing.steps": 500},
    bad={"training.steps": 1000, "checkpointing.steps": 2000},
)
def checkpoint_never(subject: Subject) -> Iterator[Finding]:
    """The run lasts to its first checkpoint."""
    run, every = subject.run_length, subject.spec.checkpointing.steps
    if run is None or every <= run.steps:
        return
    yield Finding.write(
        "checkpointing.steps",
        f"a checkpoint every {every} steps in a run of {run.told}",
        max(1, run.steps // 5),
        otherwise=run.field,
    )


@rule(
    "validation-never",
    Severity.WARNING,
    why="The first validation would come after the end: no sample is made.",
    source="cvbundle training/validate.py: after steps that validation.steps divides",
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
    """The run lasts to its first validation."""
    run, validation = subject.run_length, subject.spec.validation
    if run is None or validation is None or validation.steps <= run.steps:
        return
    every = subject.spec.checkpointing.steps
    last = run.steps // every * every
    message = f"a validation every {validation.steps} steps in a run of {run.told}"
    if last:
        yield Finding.write("validation.steps", message, last)
    else:
        # Whatever would be written here is no multiple of the checkpoint interval.
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
"""Which schedules look at a setting; `cosine` is given no cycles."""


@rule(
    "schedule-unused",
    Severity.WARNING,
    why="The schedule does not look at this setting: whatever it says, the run is the same.",
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
    """No setting but the default for what the schedule doesn't look at."""
    schedule = subject.spec.lr_scheduler
    for name, users in _USED_BY.items():
        value, default = getattr(schedule, name), getattr(LrScheduler(), name)
        # No warmup is what a schedule without one does.
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
    "rate is above that.",
    source="diffusers 0.42.1, optimization.py: lr_end must be smaller than initial lr",
    reads=("lr_scheduler.name", "training.learning_rate"),
    good={"lr_scheduler.name": "polynomial", "training.learning_rate": 1e-4},
    bad={"lr_scheduler.name": "polynomial", "training.learning_rate": 1e-7},
)
def polynomial_end(subject: Subject) -> Iterator[Finding]:
    """A polynomial schedule begins above where it ends."""
    rate = subject.spec.training.learning_rate
    if subject.spec.lr_scheduler.name == "polynomial" and rate <= _POLYNOMIAL_END:
        yield Finding(
            "training.learning_rate",
            f"{rate:g} is not above {_POLYNOMIAL_END:g}, where the polynomial schedule ends",
            "write a larger one, such as 1e-4, or another lr_scheduler.name",
            otherwise="lr_scheduler.name",
        )


_POLYNOMIAL_END = 1e-7
