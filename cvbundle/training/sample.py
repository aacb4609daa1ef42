"""`python -m cvbundle.training.sample`: a video from what a run has trained."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import ADAPTER_WEIGHTS, RUN_ADAPTER, RUN_TRANSFORMER
from cvbundle.problems import UserError, printable
from cvbundle.spec.schema import Validation
from cvbundle.spec.tables.models import MODELS
from cvbundle.training import components
from cvbundle.training.device import free, process_device
from cvbundle.training.encoders import encode_caption
from cvbundle.training.job import Job, read_job
from cvbundle.training.preview import Sampler, write_sample

if TYPE_CHECKING:
    from cvbundle.training.models import CogVideoXTransformer3DModel

_FAILED = 3


def main() -> int:
    """Make the video that the arguments describe; 0, or 3 where that failed."""
    parser = argparse.ArgumentParser()
    for name in ("bundle", "run", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    options = parser.parse_args()
    components.quiet()
    default = "cuda" if torch.cuda.is_available() else "cpu"
    device = os.environ.get("CVBUNDLE_DEVICE") or default
    try:
        make(read_job(Bundle(options.bundle), options.run, device, 1), options)
    except UserError as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return _FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {printable(where)}{error.strerror or error}\n")
        return _FAILED
    return 0


def make(job: Job, options: Any) -> None:
    """Embed the prompt, let the text encoder go, then denoise; as in a run, one after another."""
    device = process_device(job.device)
    dtype = components.DTYPES[job.spec.training.mixed_precision]
    row = MODELS.get(job.spec.model.name)
    # What validation takes where the spec has none.
    fps = row.fps if row is not None else 8
    validation = job.spec.validation or Validation(steps=1, prompts=(options.prompt,), fps=fps)
    tokenizer = components.load_tokenizer(job.model_folder)
    encoder = components.load_text_encoder(job.model_folder, dtype, device)
    length = job.architecture.transformer.max_text_seq_length
    prompt, nothing = (
        encode_caption(text, tokenizer, encoder, length) for text in (options.prompt, "")
    )
    del encoder
    free(device)
    sampler = Sampler(
        transformer=_transformer(job, dtype, device),
        vae=components.load_vae(
            job.model_folder, dtype, device, tiling=True, slicing=True, decoder=True
        ),
        scheduler=components.load_scheduler(job.model_folder),
        no_prompt=nothing,
        resolution=job.spec.data.resolution,
        guidance_scale=_first(options.guidance_scale, validation.guidance_scale),
        num_inference_steps=int(_first(options.steps, validation.num_inference_steps)),
    )
    write_sample(
        options.output,
        sampler.frames(prompt, options.image, options.seed),
        fps=validation.fps,
        prompt=options.prompt,
        seed=options.seed,
        step=job.total_steps,
    )


def _transformer(
    job: Job, dtype: torch.dtype, device: torch.device
) -> "CogVideoXTransformer3DModel":
    """The base model's with the adapter on it, or the fine-tuned one."""
    tuned = job.run / RUN_TRANSFORMER
    if tuned.is_dir():
        return components.load_transformer(job.run, dtype, device)
    transformer = components.load_transformer(job.model_folder, dtype, device)
    transformer.load_lora_adapter(
        str(job.run / RUN_ADAPTER), weight_name=ADAPTER_WEIGHTS, prefix="transformer"
    )
    return transformer


def _first(chosen: float | None, otherwise: float) -> float:
    return otherwise if chosen is None else chosen


if __name__ == "__main__":
    sys.exit(main())
