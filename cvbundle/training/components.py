"""The parts of the base model, each loaded when its phase begins and in the training dtype."""

import logging
from pathlib import Path
from typing import Any

import torch

from cvbundle.spec.schema import Precision

DTYPES: dict[Precision, torch.dtype] = {
    "no": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""What the frozen weights and the encoders are in."""


def quiet() -> None:
    """No progress bars of the libraries between our own, and no word of what isn't used."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # peft imports it where it is installed, and it looks for kernels then.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def load_tokenizer(folder: Path) -> Any:
    """The prompt tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)


def load_text_encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """The frozen T5 encoder."""
    from transformers import T5EncoderModel

    encoder: Any = T5EncoderModel.from_pretrained(
        folder / "text_encoder", dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return encoder.eval().requires_grad_(False).to(device)


def load_vae(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    tiling: bool,
    slicing: bool,
    decoder: bool,
) -> Any:
    """The frozen VAE; without its decoder where only encoding is wanted."""
    from diffusers import AutoencoderKLCogVideoX

    vae = AutoencoderKLCogVideoX.from_pretrained(
        folder / "vae", torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )
    if not decoder:
        del vae.decoder
    if tiling:
        vae.enable_tiling()
    if slicing:
        vae.enable_slicing()
    return vae.eval().requires_grad_(False).to(device)


def load_transformer(folder: Path, dtype: torch.dtype) -> Any:
    """The transformer, on the CPU and frozen."""
    from diffusers import CogVideoXTransformer3DModel

    transformer = CogVideoXTransformer3DModel.from_pretrained(
        folder / "transformer", torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )
    return transformer.requires_grad_(False)


def load_scheduler(folder: Path) -> Any:
    """The noise schedule that the model's own folder names, for sampling and for its alphas."""
    import diffusers

    config = diffusers.CogVideoXDDIMScheduler.load_config(folder / "scheduler")
    schedulers = {
        "CogVideoXDDIMScheduler": diffusers.CogVideoXDDIMScheduler,
        "CogVideoXDPMScheduler": diffusers.CogVideoXDPMScheduler,
    }
    named = schedulers.get(str(config.get("_class_name")), diffusers.CogVideoXDDIMScheduler)
    return named.from_config(config)
