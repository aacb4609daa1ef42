"""The fields of a spec: names, types, defaults, limits and one text each; a file for what belongs
together, and all of them from here.

A `Spec` is always resolved: what the model or another field decides (see `About.default`) is filled
in by `spec.resolve` before structuring, so no field means "ask the model".
"""

from cvbundle.spec.schema.data import BadSamples, Data, Fit, FrameSampling, ShortClips
from cvbundle.spec.schema.model import Model, ModelName, Task, is_revision
from cvbundle.spec.schema.resolution import Resolution
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
    Precision,
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
    "ModelName",
    "Optimizer",
    "Output",
    "Precision",
    "Resolution",
    "SchedulerName",
    "ShortClips",
    "Spec",
    "Task",
    "TimestepSampling",
    "Tracker",
    "Tracking",
    "Training",
    "TrainingType",
    "Validation",
    "is_revision",
]
