"""`training`: how long, how precisely, and towards what."""

from typing import Literal, cast

from attrs import Factory, field, frozen

from cvbundle.spec.about import about
from cvbundle.spec.limits import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, SHARE, Range
from cvbundle.spec.tables.models import Precision

TrainingType = Literal["lora", "sft"]
GradientCheckpointing = Literal[True, False, "selective"]
Latents = Literal["resample", "fixed"]
TimestepSampling = Literal["uniform", "logit_normal"]

MAX_SEED = 2**64 - 1


@frozen(kw_only=True)
class ImageNoise:
    """Log-normal noise on the conditioning image: sigma = exp(N(mean, std))."""

    mean: float = field(default=-3.0, metadata=about("Mean of log sigma.", -3.0))
    std: float = field(
        default=0.5,
        validator=NOT_NEGATIVE,
        metadata=about("Standard deviation of log sigma.", 0.5),
    )


@frozen(kw_only=True)
class Training:
    """How long, how precisely, and towards what the weights are trained."""

    type: TrainingType = field(
        default="lora",
        metadata=about(
            "Low-rank adapter, or all weights of the transformer.",
            "lora",
            elsewhere=("train_type",),
        ),
    )
    seed: int = field(
        default=42,
        validator=Range(at_least=0, at_most=MAX_SEED),
        metadata=about("Seed of the order of samples, noise, timesteps and initial weights.", 42),
    )
    epochs: int | None = field(
        default=None,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Passes over the data; exactly one of `epochs` and `steps`.",
            None,
            elsewhere=("max_train_epochs", "num_epochs", "num_train_epochs", "train_epochs"),
        ),
    )
    steps: int | None = field(
        default=None,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Optimizer steps; exactly one of `epochs` and `steps`.",
            1000,
            elsewhere=("max_steps", "max_train_steps", "num_steps", "train_steps"),
        ),
    )
    batch_size: int = field(
        default=1,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Samples per batch in each process.",
            1,
            elsewhere=("per_device_train_batch_size", "train_batch_size"),
        ),
    )
    gradient_accumulation_steps: int = field(
        default=1,
        validator=AT_LEAST_ONE,
        metadata=about(
            "Batches per optimizer step in each process.",
            1,
            elsewhere=("grad_accum", "gradient_accumulation"),
        ),
    )
    mixed_precision: Precision = field(
        metadata=about(
            "Type of the frozen weights and the forward pass; `no` is fp32.",
            "bf16",
            default="by model",
            elsewhere=("dtype", "precision"),
        ),
    )
    learning_rate: float = field(
        default=2e-5,
        validator=POSITIVE,
        metadata=about("Learning rate after the warmup.", 1e-4, elsewhere=("lr",)),
    )
    max_grad_norm: float | None = field(
        default=cast(float | None, 1.0),
        validator=POSITIVE,
        metadata=about(
            "Gradients are clipped to this norm at each step; null means never.",
            1.0,
            elsewhere=("grad_clip", "gradient_clipping"),
        ),
    )
    gradient_checkpointing: GradientCheckpointing = field(
        default=True,
        metadata=about(
            "Recompute activations in the backward pass: less memory, slower; `selective` keeps "
            "attention's output, which is expensive to recompute.",
            True,
        ),
    )
    deterministic: bool = field(
        default=True,
        metadata=about(
            "Use only kernels with reproducible results; false uses the fastest ones, and no run "
            "can be repeated bit for bit.",
            True,
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
        validator=SHARE,
        metadata=about(
            "Image to video: share of samples trained without the image.",
            0.05,
            elsewhere=("noised_image_dropout",),
        ),
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
        validator=POSITIVE,
        metadata=about("Min-SNR weighting of the loss (arXiv 2303.09556); null means none.", 5.0),
    )
    ema_decay: float | None = field(
        default=None,
        validator=SHARE,
        metadata=about(
            "Exponential moving average of the trained weights; null means none.",
            0.999,
            elsewhere=("ema",),
        ),
    )
    compile: bool = field(
        default=False, metadata=about("torch.compile of the transformer's blocks.", False)
    )
