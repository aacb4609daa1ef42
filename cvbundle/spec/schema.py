"""The fields of a spec: names, types, defaults, limits and one text each.

A `Spec` is always resolved: what the model or another field decides (see `About.default`) is filled
in by `spec.resolve` before structuring, so no field means "ask the model".
"""

import re
from typing import Literal, cast

from attrs import Factory, field, frozen
from attrs.validators import (
    deep_iterable,
    ge,
    gt,
    instance_of,
    le,
    lt,
    matches_re,
    min_len,
    optional,
)

from cvbundle.spec.about import about

ModelName = Literal[
    "cogvideox-2b",
    "cogvideox-5b",
    "cogvideox-5b-i2v",
    "cogvideox1.5-5b",
    "cogvideox1.5-5b-i2v",
    "custom",
]
Task = Literal["t2v", "i2v"]
Fit = Literal["crop", "stretch"]
FrameSampling = Literal["uniform", "head", "stride"]
ShortClips = Literal["error", "repeat_last", "skip"]
BadSamples = Literal["error", "skip"]
TrainingType = Literal["lora", "sft"]
Precision = Literal["no", "fp16", "bf16"]
Latents = Literal["resample", "fixed"]
TimestepSampling = Literal["uniform", "logit_normal"]
OptimizerName = Literal["adamw", "adam", "adamw8bit", "prodigy", "came"]
SchedulerName = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
]
Strategy = Literal["single", "ddp", "fsdp", "zero2", "zero2-offload", "zero3", "zero3-offload"]
Tracker = Literal[
    "tensorboard", "wandb", "comet_ml", "mlflow", "clearml", "dvclive", "swanlab", "trackio"
]

_RESOLUTION = re.compile(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})")
_MAX_SEED = 2**64 - 1
# A commit, branch or tag: it becomes part of a path in the hub's cache, and must not lead out.
_REVISION = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/+-]{0,254}"


@frozen(order=True)
class Resolution:
    """Frames, height and width (pixels) of every training sample."""

    frames: int = field(validator=ge(1))
    height: int = field(validator=ge(1))
    width: int = field(validator=ge(1))

    @classmethod
    def parse(cls, text: str) -> "Resolution":
        """Read `FxHxW`.

        Raises:
            ValueError: the text is not three whole numbers joined by `x`.
        """
        match = _RESOLUTION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text} is not FxHxW: frames, height and width, like 49x480x720")
        return cls(*(int(group) for group in match.groups()))

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"


def is_revision(text: str) -> bool:
    """Whether a text can be a commit, branch or tag."""
    return re.fullmatch(_REVISION, text) is not None


_fraction = [ge(0.0), le(1.0)]


@frozen(kw_only=True)
class Model:
    """The base model."""

    path: str = field(
        validator=min_len(1),
        metadata=about(
            "Hub id `org/name`, or a folder in diffusers layout.", "THUDM/CogVideoX-2b", local=True
        ),
    )
    revision: str | None = field(
        default=None,
        validator=optional(matches_re(_REVISION)),
        metadata=about(
            "Hub only: the commit. A branch or tag is resolved to its commit at compile time.", None
        ),
    )
    name: ModelName = field(
        metadata=about(
            "Which CogVideoX it is; `custom` means just what the folder's own config files say.",
            "cogvideox-2b",
            default="inferred from the model's config files or hub id",
        ),
    )
    type: Task = field(
        metadata=about(
            "Text to video or image to video; must agree with the model.", "t2v", default="by model"
        ),
    )


@frozen(kw_only=True)
class Data:
    """The clips, their captions, and how frames are taken from them."""

    root: str = field(
        validator=min_len(1), metadata=about("Folder of the dataset.", "data", local=True)
    )
    metadata: str | None = field(
        default=None,
        validator=optional(min_len(1)),
        metadata=about(
            "Table under root (.csv .tsv .jsonl .parquet); null means two text files, "
            "one entry a line.",
            None,
        ),
    )
    caption_column: str = field(
        validator=min_len(1),
        metadata=about(
            "Text file under root, column of the table, or `*.txt`: a text file beside each clip.",
            "prompts.txt",
            default="`prompts.txt`, or `caption` with metadata",
        ),
    )
    video_column: str = field(
        validator=min_len(1),
        metadata=about(
            "Text file under root, or column of the table, that names the clips.",
            "videos.txt",
            default="`videos.txt`, or `video` with metadata",
        ),
    )
    image_column: str | None = field(
        default=None,
        validator=optional(min_len(1)),
        metadata=about(
            "Image to video only: where the first images are named; null means each clip's first "
            "frame.",
            None,
        ),
    )
    resolution: Resolution = field(
        validator=instance_of(Resolution),
        metadata=about(
            "Frames, height and width used for training, as `FxHxW` or `[F, H, W]`.",
            "49x480x720",
            default="by model",
        ),
    )
    fit: Fit = field(
        default="crop",
        metadata=about("Keep the aspect ratio and cut the middle, or distort.", "crop"),
    )
    frame_sampling: FrameSampling = field(
        default="uniform",
        metadata=about(
            "Which frames: evenly over the whole clip, the first ones, or the upstream trainer's "
            "integer stride.",
            "uniform",
        ),
    )
    short_clips: ShortClips = field(
        default="error",
        metadata=about("What to do with clips of too few frames.", "error"),
    )
    bad_samples: BadSamples = field(
        default="error",
        metadata=about(
            "What to do with unreadable or truncated clips; skipped ones are listed in the bundle.",
            "error",
        ),
    )
    caption_prefix: str = field(
        default="", metadata=about("Put before every caption (identifier token).", "sks ")
    )
    caption_dropout: float = field(
        default=0.0,
        validator=_fraction,
        metadata=about("Share of samples trained on the empty caption.", 0.0),
    )
    num_workers: int = field(
        default=4,
        validator=ge(0),
        metadata=about("Threads that make batches ahead, for each training process.", 4),
    )
    pin_memory: bool = field(
        default=True, metadata=about("Page-locked host memory, for faster copies to a GPU.", True)
    )
    vae_tiling: bool = field(
        default=True, metadata=about("Encode and decode frames in tiles: less memory.", True)
    )
    vae_slicing: bool = field(
        default=True, metadata=about("Encode and decode one clip of a batch at a time.", True)
    )


@frozen(kw_only=True)
class ImageNoise:
    """Log-normal noise on the conditioning image: sigma = exp(N(mean, std))."""

    mean: float = field(default=-3.0, metadata=about("Mean of log sigma.", -3.0))
    std: float = field(
        default=0.5, validator=ge(0.0), metadata=about("Standard deviation of log sigma.", 0.5)
    )


@frozen(kw_only=True)
class Training:
    """How long, how precisely, and towards what the weights are trained."""

    type: TrainingType = field(
        default="lora",
        metadata=about("Low-rank adapter, or all weights of the transformer.", "lora"),
    )
    seed: int = field(
        default=42,
        validator=[ge(0), le(_MAX_SEED)],
        metadata=about("Decides order, noise, timesteps and initial weights.", 42),
    )
    epochs: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=about("Passes over the data; exactly one of `epochs` and `steps`.", None),
    )
    steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata=about("Optimizer steps; exactly one of `epochs` and `steps`.", 1000),
    )
    batch_size: int = field(
        default=1, validator=ge(1), metadata=about("Samples a process takes at a time.", 1)
    )
    gradient_accumulation_steps: int = field(
        default=1,
        validator=ge(1),
        metadata=about("Batches of each process to an optimizer step.", 1),
    )
    mixed_precision: Precision = field(
        metadata=about(
            "Type that the frozen weights and the forward pass are in; `no` is fp32.",
            "bf16",
            default="by model",
        ),
    )
    learning_rate: float = field(
        default=2e-5, validator=gt(0.0), metadata=about("Learning rate after the warmup.", 1e-4)
    )
    max_grad_norm: float | None = field(
        default=cast(float | None, 1.0),
        validator=optional(gt(0.0)),
        metadata=about(
            "Gradients are scaled down to this norm, once a step; null means never.", 1.0
        ),
    )
    gradient_checkpointing: bool = field(
        default=True,
        metadata=about(
            "Compute activations again in the backward pass: less memory, slower.", True
        ),
    )
    image_noise: ImageNoise | None = field(
        default=Factory(ImageNoise),
        metadata=about(
            "Image to video: log-normal noise on the conditioning image; null means none.",
            {"mean": -3.0, "std": 0.5},
        ),
    )
    image_dropout: float = field(
        default=0.0,
        validator=_fraction,
        metadata=about("Image to video: share of samples trained without the image.", 0.05),
    )
    latents: Latents = field(
        default="resample",
        metadata=about(
            "Draw a clip's latents from the VAE posterior at each visit, or once.", "resample"
        ),
    )
    timestep_sampling: TimestepSampling = field(
        default="uniform",
        metadata=about("How timesteps are drawn.", "uniform"),
    )
    snr_gamma: float | None = field(
        default=None,
        validator=optional(gt(0.0)),
        metadata=about("Min-SNR weighting of the loss (arXiv 2303.09556); null means none.", 5.0),
    )
    ema_decay: float | None = field(
        default=None,
        validator=optional(_fraction),
        metadata=about(
            "Exponential moving average of the trained weights; null means none.", 0.999
        ),
    )
    compile: bool = field(
        default=False, metadata=about("torch.compile of the transformer's blocks.", False)
    )


@frozen(kw_only=True)
class Lora:
    """The adapter; only with `training.type: lora`."""

    rank: int = field(default=128, validator=ge(1), metadata=about("Rank of the update.", 128))
    alpha: float = field(
        default=64.0, validator=gt(0.0), metadata=about("The update is scaled by alpha / rank.", 64)
    )
    target_modules: tuple[str, ...] = field(
        default=("to_q", "to_k", "to_v", "to_out.0"),
        validator=[min_len(1), deep_iterable(member_validator=min_len(1))],
        metadata=about(
            "Modules that get an adapter, by the end of their names, as peft matches them.",
            ["to_q", "to_k", "to_v", "to_out.0"],
        ),
    )
    dropout: float = field(
        default=0.0,
        validator=[ge(0.0), lt(1.0)],
        metadata=about("Dropout on the adapter's input.", 0.0),
    )
    rslora: bool = field(
        default=False,
        metadata=about("Scale by alpha / sqrt(rank) instead (arXiv 2312.03732).", False),
    )


@frozen(kw_only=True)
class Optimizer:
    """The optimizer; never another one than named."""

    name: OptimizerName = field(default="adamw", metadata=about("Which optimizer.", "adamw"))
    betas: tuple[float, ...] = field(
        default=(0.9, 0.95),
        validator=[min_len(2), deep_iterable(member_validator=[ge(0.0), lt(1.0)])],
        metadata=about("Decay rates of the two moments.", [0.9, 0.95]),
    )
    epsilon: float = field(
        default=1e-8, validator=gt(0.0), metadata=about("Added to the denominator.", 1e-8)
    )
    weight_decay: float = field(
        default=1e-4, validator=ge(0.0), metadata=about("Weight decay.", 1e-4)
    )
    beta3: float | None = field(
        default=None,
        validator=optional([ge(0.0), lt(1.0)]),
        metadata=about(
            "Third decay rate of prodigy and came; null means the optimizer's own.", None
        ),
    )


@frozen(kw_only=True)
class LrScheduler:
    """The learning rate over the run."""

    name: SchedulerName = field(
        default="constant_with_warmup", metadata=about("diffusers' name of the schedule.", "cosine")
    )
    warmup_steps: int = field(
        default=100, validator=ge(0), metadata=about("Optimizer steps of linear warmup.", 100)
    )
    num_cycles: int = field(
        default=1, validator=ge(1), metadata=about("Restarts of `cosine_with_restarts`.", 1)
    )
    power: float = field(
        default=1.0, validator=gt(0.0), metadata=about("Exponent of `polynomial`.", 1.0)
    )


@frozen(kw_only=True)
class Checkpointing:
    """When the run's state is saved."""

    steps: int = field(
        default=200, validator=ge(1), metadata=about("Optimizer steps between checkpoints.", 200)
    )
    limit: int | None = field(
        default=cast(int | None, 10),
        validator=optional(ge(1)),
        metadata=about("How many checkpoints are kept, the newest; null means all.", 10),
    )


@frozen(kw_only=True)
class Validation:
    """Sample videos made during training."""

    steps: int = field(
        validator=ge(1),
        metadata=about(
            "Optimizer steps between validations; a multiple of `checkpointing.steps`.", 200
        ),
    )
    prompts: tuple[str, ...] = field(
        validator=min_len(1),
        metadata=about(
            "Prompts, or the path of a text file with one a line.", ["A panda plays a guitar."]
        ),
    )
    images: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Image to video: one image a prompt, or the path of a text file with one path a line.",
            ["first_frame.png"],
        ),
    )
    num_inference_steps: int = field(
        default=50, validator=ge(1), metadata=about("Denoising steps.", 50)
    )
    guidance_scale: float = field(
        default=6.0, validator=ge(0.0), metadata=about("Classifier-free guidance.", 6.0)
    )
    fps: int = field(
        validator=ge(1),
        metadata=about("Frames per second of the sample videos.", 8, default="by model"),
    )
    seed: int = field(
        default=42,
        validator=[ge(0), le(_MAX_SEED)],
        metadata=about("Decides the noise that samples start from.", 42),
    )


@frozen(kw_only=True)
class Tracking:
    """Where curves go, beside the run's own `metrics.jsonl`."""

    report_to: tuple[Tracker, ...] = field(
        default=("tensorboard",),
        metadata=about("Trackers, as accelerate names them; `[]` means none.", ["tensorboard"]),
    )
    project: str = field(
        default="cvbundle",
        validator=min_len(1),
        metadata=about("The tracker's project name.", "cvbundle"),
    )


@frozen(kw_only=True)
class Launch:
    """How many processes train, and how they share the work."""

    strategy: Strategy = field(
        default="single", metadata=about("How the model is spread over processes.", "single")
    )
    num_processes: int = field(
        default=1, validator=ge(1), metadata=about("Processes in all, over all machines.", 1)
    )
    num_machines: int = field(default=1, validator=ge(1), metadata=about("Machines.", 1))
    gpu_memory_gib: float | None = field(
        default=None,
        validator=optional(gt(0.0)),
        metadata=about("What one device has, in GiB; turns the memory estimate into a rule.", 24.0),
    )
    timeout_s: int = field(
        default=1800,
        validator=ge(1),
        metadata=about("Seconds after which the process group gives up on a silent process.", 1800),
    )


@frozen(kw_only=True)
class Output:
    """Where runs go."""

    dir: str | None = field(
        default=None,
        validator=optional(min_len(1)),
        metadata=about("Folder of the runs; null means `runs/` in the bundle.", None, local=True),
    )


@frozen(kw_only=True)
class Spec:
    """A fine-tuning experiment, with nothing left to decide."""

    cvbundle: Literal[1] = field(metadata=about("Format of the spec.", 1))
    name: str = field(
        validator=matches_re(r"[a-z0-9][a-z0-9._-]{0,62}"),
        metadata=about(
            "Label of the experiment: a-z 0-9 . _ - , at most 63 characters.", "my-lora"
        ),
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
        default=LrScheduler(), metadata=about("The learning rate over the run.", None)
    )
    checkpointing: Checkpointing = field(
        default=Checkpointing(), metadata=about("When the run's state is saved.", None)
    )
    validation: Validation | None = field(
        default=None, metadata=about("Sample videos made during training; null means none.", None)
    )
    tracking: Tracking = field(default=Tracking(), metadata=about("Where curves go.", None))
    launch: Launch = field(default=Launch(), metadata=about("How many processes train.", None))
    output: Output = field(default=Output(), metadata=about("Where runs go.", None))
    allow: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Ids of warnings and waivable errors accepted on purpose.", ["frames-8n-plus-1"]
        ),
    )

    @property
    def global_batch(self) -> int:
        """Samples to an optimizer step, over all processes."""
        training = self.training
        return (
            training.batch_size * training.gradient_accumulation_steps * self.launch.num_processes
        )

    def total_steps(self, samples: int) -> int:
        """Optimizer steps of the run over a dataset of this many samples.

        A run by epochs is rounded up to whole steps, so that no sample is left out.
        """
        if self.training.steps is not None:
            return self.training.steps
        assert self.training.epochs is not None
        return -(-self.training.epochs * samples // self.global_batch)
