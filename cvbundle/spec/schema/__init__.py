"""The fields of a spec: names, types, defaults, limits and documentation.

A `Spec` is always resolved: defaults that depend on the model or another field (`About.default`)
are filled in by `spec.resolve` before structuring.
"""

from cvbundle.spec.resolution import Resolution
from cvbundle.spec.schema.data import BadSamples, Data, Fit, FrameSampling, ShortClips
from cvbundle.spec.schema.model import Model, is_revision
from cvbundle.spec.schema.run import (
    Checkpointing,
    Launch,
    Output,
    Tracker,
    Tracking,
    Validation,
)
from cvbundle.spec.schema.spec import Spec
from cvbundle.spec.schema.training import (
    GradientCheckpointing,
    ImageNoise,
    Latents,
    TimestepSampling,
    Training,
    TrainingType,
)
from cvbundle.spec.schema.update import Lora, LrScheduler, Optimizer, SchedulerName

__all__ = [
    "BadSamples",
    "Checkpointing",
    "Data",
    "Fit",
    "FrameSampling",
    "GradientCheckpointing",
    "ImageNoise",
    "Latents",
    "Launch",
    "Lora",
    "LrScheduler",
    "Model",
    "Optimizer",
    "Output",
    "Resolution",
    "SchedulerName",
    "ShortClips",
    "Spec",
    "TimestepSampling",
    "Tracker",
    "Tracking",
    "Training",
    "TrainingType",
    "Validation",
    "is_revision",
]
