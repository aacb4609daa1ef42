"""The parts of the base model, each loaded when its phase begins and in the training dtype."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cvbundle.spec.tables.models import Precision
from cvbundle.training.pretrained import empty_model, load_weights, stored_weights
from cvbundle.training.stored import Stored

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, T5EncoderModel

    from cvbundle.training.models import (
        AutoencoderKLCogVideoX,
        CogVideoXTransformer3DModel,
        NoiseScheduler,
    )

DTYPES: dict[Precision, torch.dtype] = {
    "no": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""What the frozen weights and the encoders are in."""


def quiet() -> None:
    """Silence the progress bars of the libraries, and warnings about what isn't used."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    # peft imports it where it is installed, and it looks for kernels then.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The prompt tokenizer."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder / "tokenizer", local_files_only=True
    )
    return tokenizer


def load_text_encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> "T5EncoderModel":
    """The frozen T5 encoder.

    In fp16 some of its weights stay in fp32, as in the pipeline: the sum that they feed exceeds
    what fp16 holds (huggingface/transformers#20287; transformers 5.23.0, modeling_t5.py,
    `_keep_in_fp32_modules`). bf16 holds it.

    Raises:
        UserError: its files are not those of such an encoder.
    """
    from transformers import T5Config, T5EncoderModel

    path = folder / "text_encoder"
    with torch.device("meta"):
        encoder = T5EncoderModel(T5Config.from_pretrained(path, local_files_only=True))
    # The embedding of tokens has two names.
    encoder.tie_weights()
    stored = stored_weights(
        encoder, path, unused=T5EncoderModel._keys_to_ignore_on_load_unexpected or ()
    )
    fp32 = T5EncoderModel._keep_in_fp32_modules or () if dtype == torch.float16 else ()
    load_weights(encoder, stored, dtype, device, fp32=fp32)
    encoder.eval()
    return encoder


def load_vae(
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
    *,
    tiling: bool,
    slicing: bool,
    decoder: bool,
) -> "AutoencoderKLCogVideoX":
    """The frozen VAE; without its decoder if it only encodes.

    Raises:
        UserError: its files are not those of such a VAE.
    """
    from cvbundle.training.models import AutoencoderKLCogVideoX

    path = folder / "vae"
    vae: AutoencoderKLCogVideoX = empty_model(AutoencoderKLCogVideoX, path)
    if not decoder:
        del vae.decoder
    stored = stored_weights(vae, path, unused=() if decoder else (r"^decoder\.",))
    load_weights(vae, stored, dtype, device)
    if tiling:
        vae.enable_tiling()
    if slicing:
        vae.enable_slicing()
    vae.eval()
    return vae


def load_transformer(
    folder: Path, dtype: torch.dtype, device: torch.device
) -> "CogVideoXTransformer3DModel":
    """The frozen transformer, for samples of the size in its config.

    Raises:
        UserError: its files are not those of such a transformer.
    """
    transformer = empty_transformer(folder)
    patch = transformer.patch_embed
    if "pos_embedding" in patch._non_persistent_buffers_set:
        size = patch.sample_height, patch.sample_width, patch.sample_frames
        # diffusers keeps it in fp64, and casts it to the activations' type in every forward
        # (0.42.1, embeddings.py, `CogVideoXPatchEmbed.forward`).
        patch.pos_embedding = patch._get_positional_embeddings(*size).to(dtype).to(device)
    fill_transformer(transformer, folder, dtype, device)
    return transformer


def empty_transformer(folder: Path) -> "CogVideoXTransformer3DModel":
    """The transformer on the meta device, also the table of positions that it may compute."""
    from cvbundle.training.models import CogVideoXTransformer3DModel

    transformer: CogVideoXTransformer3DModel
    transformer = empty_model(CogVideoXTransformer3DModel, folder / "transformer")
    return transformer


def fill_transformer(
    transformer: "CogVideoXTransformer3DModel",
    folder: Path,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Load the weights of an empty transformer, and freeze them.

    Raises:
        UserError: its files are not those of such a transformer.
    """
    path = folder / "transformer"
    load_weights(transformer, stored_weights(transformer, path), dtype, device)
    transformer.eval()


def stored_transformer(
    transformer: "CogVideoXTransformer3DModel", folder: Path, dtype: torch.dtype
) -> dict[str, Stored]:
    """Where the weights of an empty transformer are stored, for processes that share them out.

    They stay empty, of `dtype` and frozen; its buffers, which every process has, are loaded.

    Raises:
        UserError: its files are not those of such a transformer.
    """
    stored = stored_weights(transformer, folder / "transformer")
    buffers = {name: stored.pop(name) for name, _ in transformer.named_buffers() if name in stored}
    load_weights(transformer, buffers, dtype, torch.device("cpu"), strict=False)
    # A decorator hides from mypy that `to` is a method.
    transformer.to(dtype).eval()  # type: ignore[arg-type]
    return stored


def load_scheduler(folder: Path) -> "NoiseScheduler":
    """The noise schedule that the model's own folder names, for sampling and for its alphas."""
    from cvbundle.training.models import CogVideoXDDIMScheduler, CogVideoXDPMScheduler

    config = CogVideoXDDIMScheduler.load_config(folder / "scheduler")
    kinds: Mapping[str, type[NoiseScheduler]] = {
        "CogVideoXDDIMScheduler": CogVideoXDDIMScheduler,
        "CogVideoXDPMScheduler": CogVideoXDPMScheduler,
    }
    kind = kinds.get(str(config.get("_class_name")), CogVideoXDDIMScheduler)
    scheduler: NoiseScheduler = kind.from_config(config)
    return scheduler
