"""The whole spec."""

from typing import Literal

from attrs import field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import Pattern
from cvbundle.spec.schema.data import Data
from cvbundle.spec.schema.model import Model
from cvbundle.spec.schema.run import Checkpointing, Launch, Output, Tracking, Validation
from cvbundle.spec.schema.training import Training
from cvbundle.spec.schema.update import Lora, LrScheduler, Optimizer


@frozen(kw_only=True)
class Spec:
    """A fine-tuning experiment with every setting resolved."""

    cvbundle: Literal[1] = field(metadata=about("Format of the spec.", 1, elsewhere=("version",)))
    name: str = field(
        validator=Pattern(r"[a-z0-9][a-z0-9._-]{0,62}"),
        metadata=about("Name of the experiment: a-z 0-9 . _ - , at most 63 characters.", "my-lora"),
    )
    model: Model = field(metadata=about("The base model.", None))
    data: Data = field(metadata=about("The clips and captions.", None))
    training: Training = field(metadata=about("How the weights are trained.", None))
    lora: Lora | None = field(
        metadata=about(
            "The adapter; only with `training.type: lora`.", None, default="by training.type"
        )
    )
    optimizer: Optimizer = field(default=Optimizer(), metadata=about("The optimizer.", None))
    lr_scheduler: LrScheduler = field(
        default=LrScheduler(), metadata=about("The learning rate schedule.", None)
    )
    checkpointing: Checkpointing = field(
        default=Checkpointing(), metadata=about("When checkpoints are saved.", None)
    )
    validation: Validation | None = field(
        default=None,
        metadata=about(
            "Sample videos made during training; null means none.", None, parts=("do_validation",)
        ),
    )
    tracking: Tracking = field(default=Tracking(), metadata=about("Where metrics go.", None))
    launch: Launch = field(default=Launch(), metadata=about("How many processes train.", None))
    output: Output = field(default=Output(), metadata=about("Where runs are written.", None))
    allow: tuple[str, ...] = field(
        default=(),
        metadata=about("Ids of warnings and waivable errors to accept.", ["frames-8n-plus-1"]),
    )

    @property
    def global_batch(self) -> int:
        """Samples per optimizer step, over all processes."""
        training = self.training
        return (
            training.batch_size * training.gradient_accumulation_steps * self.launch.num_processes
        )

    def total_steps(self, samples: int) -> int:
        """Optimizer steps of the run over a dataset of this many samples.

        A run by epochs is rounded up to whole steps, so that every sample is used.
        """
        if self.training.steps is not None:
            return self.training.steps
        assert self.training.epochs is not None
        return -(-self.training.epochs * samples // self.global_batch)
