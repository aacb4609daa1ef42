"""How long a run is, and what happens on the way."""

from collections.abc import Iterator

from cvbundle.problems import Severity
from cvbundle.rules.rule import Finding, Subject, rule


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
        yield Finding(later, "both steps and epochs are given", "remove one of them")


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
    good={"training.steps": 1000, "lr_scheduler.warmup_steps": 100},
    bad={"training.steps": 200, "lr_scheduler.warmup_steps": 500},
)
def warmup_exceeds_steps(subject: Subject) -> Iterator[Finding]:
    """Warmup ends before the run does."""
    schedule, training = subject.spec.lr_scheduler, subject.spec.training
    if training.steps is None or training.epochs is not None or schedule.name == "constant":
        return
    if schedule.warmup_steps > training.steps:
        yield Finding.write(
            "lr_scheduler.warmup_steps",
            f"{schedule.warmup_steps} steps of warmup in a run of {training.steps}",
            training.steps // 10,
            otherwise="training.steps",
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
    good={"training.steps": 1000, "checkpointing.steps": 500},
    bad={"training.steps": 1000, "checkpointing.steps": 2000},
)
def checkpoint_never(subject: Subject) -> Iterator[Finding]:
    """The run lasts to its first checkpoint."""
    training, every = subject.spec.training, subject.spec.checkpointing.steps
    if training.steps is None or training.epochs is not None or every <= training.steps:
        return
    yield Finding.write(
        "checkpointing.steps",
        f"a checkpoint every {every} steps in a run of {training.steps}",
        max(1, training.steps // 5),
        otherwise="training.steps",
    )
