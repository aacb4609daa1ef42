"""diffusers' classes of a base model's parts.

`from diffusers import …` shows type checkers placeholders without methods
(diffusers/utils/dummy_pt_objects.py), so the classes come from the modules that define them.
Importing them takes seconds, and brings peft and what it finds installed, which writes warnings:
so they are imported for their types alone, and where a model is made.
"""

from diffusers.models.autoencoders.autoencoder_kl_cogvideox import (
    AutoencoderKLCogVideoX as AutoencoderKLCogVideoX,
)
from diffusers.models.transformers.cogvideox_transformer_3d import (
    CogVideoXTransformer3DModel as CogVideoXTransformer3DModel,
)
from diffusers.schedulers.scheduling_ddim_cogvideox import (
    CogVideoXDDIMScheduler as CogVideoXDDIMScheduler,
)
from diffusers.schedulers.scheduling_dpm_cogvideox import (
    CogVideoXDPMScheduler as CogVideoXDPMScheduler,
)

NoiseScheduler = CogVideoXDDIMScheduler | CogVideoXDPMScheduler
