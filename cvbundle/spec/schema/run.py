"""`checkpointing`, `validation`, `tracking`, `launch` and `output`: what a run does and where."""

from typing import Literal, cast

from attrs import field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import (
    AT_LEAST_ONE,
    NOT_EMPTY,
    NOT_NEGATIVE,
    POSITIVE,
    Choice,
    Items,
    Range,
)
from cvbundle.spec.schema.training import MAX_SEED
from cvbundle.spec.tables.gpus import GPUS, Gpu
from cvbundle.spec.tables.strategies import STRATEGIES, StrategyKind

Tracker = Literal[
    "tensorboard", "wandb", "comet_ml", "mlflow", "clearml", "dvclive", "swanlab", "trackio"
]


@frozen(kw_only=True)
class Checkpointing:
    """When the run's state is saved."""

    steps: int = field(
        default=200,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Optimizer steps between checkpoints.", 200, elsewhere=("save_every", "save_steps")
        ),
    )
    limit: int | None = field(
        default=cast(int | None, 10),
        validator=AT_LEAST_ONE,
        metadata=about(
            "How many of the latest checkpoints to keep; null means all.",
            10,
            elsewhere=("checkpoints_total_limit", "save_total_limit"),
        ),
    )


@frozen(kw_only=True)
class Validation:
    """Sample videos made during training."""

    steps: int = field(
        validator=AT_LEAST_ONE,
        metadata=about(
            "Optimizer steps between validations; a multiple of `checkpointing.steps`.",
            200,
            elsewhere=("validation_epochs",),
        ),
    )
    prompts: tuple[str, ...] = field(
        validator=Items(length=NOT_EMPTY),
        metadata=about(
            "Prompts, or the path of a text file with one a line.",
            ["A panda plays a guitar."],
            elsewhere=("validation_prompt",),
        ),
    )
    images: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Image to video: one image a prompt, or the path of a text file with one path a line.",
            ["first_frame.png"],
            elsewhere=("validation_image",),
        ),
    )
    num_inference_steps: int = field(
        default=50, validator=AT_LEAST_ONE, metadata=about("Denoising steps.", 50)
    )
    guidance_scale: float = field(
        default=6.0, validator=NOT_NEGATIVE, metadata=about("Classifier-free guidance.", 6.0)
    )
    fps: int = field(
        validator=AT_LEAST_ONE,
        metadata=about(
            "Frames per second of the sample videos.", 8, default="by model", elsewhere=("gen_fps",)
        ),
    )
    seed: int = field(
        default=42,
        validator=Range(at_least=0, at_most=MAX_SEED),
        metadata=about("Seed of the noise that samples start from.", 42),
    )


@frozen(kw_only=True)
class Tracking:
    """Where curves go, beside the run's own `metrics.jsonl`."""

    report_to: tuple[Tracker, ...] = field(
        default=("tensorboard",),
        metadata=about(
            "Trackers, as accelerate names them; `[]` means none.",
            ["tensorboard"],
            elsewhere=("log_with", "logger"),
        ),
    )
    project: str = field(
        default="cvbundle",
        validator=NOT_EMPTY,
        metadata=about(
            "The tracker's project name.", "cvbundle", elsewhere=("tracker_name", "wandb_project")
        ),
    )


@frozen(kw_only=True)
class Launch:
    """How many processes train, and how they share the work."""

    strategy: str = field(
        default="single",
        validator=Choice(tuple(STRATEGIES)),
        metadata=about(
            "How the model is distributed over processes; fsdp and the ZeRO stages use FSDP2.",
            "single",
        ),
    )
    num_processes: int = field(
        default=1,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Processes in all, over all machines.",
            1,
            elsewhere=("gpus", "nproc_per_node", "num_gpus", "world_size"),
        ),
    )
    num_machines: int = field(
        default=1,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Machines; each has as many of the processes as every other one.",
            1,
            local="CVBUNDLE_NUM_MACHINES",
            elsewhere=("nnodes", "num_nodes"),
        ),
    )
    gpu: str | None = field(
        default=None,
        validator=Choice(tuple(GPUS)),
        metadata=about(
            "The GPU: gives its memory to the estimate's rule, and an estimate of time.",
            "h100",
            local="CVBUNDLE_GPU",
            elsewhere=("gpu_name", "gpu_type", "accelerator_type"),
        ),
    )
    gpu_memory_gib: float | None = field(
        default=None,
        validator=POSITIVE,
        metadata=about(
            "What one device has, in GiB, where that is not `launch.gpu`'s; turns the memory "
            "estimate into a rule.",
            24.0,
            local="CVBUNDLE_GPU_MEMORY_GIB",
        ),
    )
    timeout_s: int = field(
        default=1800,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Seconds after which the process group gives up on a silent process.",
            1800,
            elsewhere=("nccl_timeout",),
        ),
    )

    @property
    def kind(self) -> StrategyKind:
        """What each process holds, and where."""
        return STRATEGIES[self.strategy]

    @property
    def device(self) -> Gpu | None:
        """The row of the GPU; None where nobody has said."""
        return None if self.gpu is None else GPUS[self.gpu]

    @property
    def memory_gib(self) -> float | None:
        """What one device has, in GiB; None where nobody has said."""
        if self.gpu_memory_gib is not None or self.device is None:
            return self.gpu_memory_gib
        return self.device.memory_gib


@frozen(kw_only=True)
class Output:
    """Where runs go."""

    dir: str | None = field(
        default=None,
        validator=NOT_EMPTY,
        metadata=about(
            "Folder of the runs; null means `runs/` in the bundle.",
            None,
            local="CVBUNDLE_OUTPUT_DIR",
        ),
    )
