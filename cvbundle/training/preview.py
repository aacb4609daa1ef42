"""Sample videos with the weights as they are, through diffusers' own pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvbundle.dataset.video import write_clip
from cvbundle.digest import json_file
from cvbundle.durable import write_bytes
from cvbundle.spec.schema import Spec
from cvbundle.training.randomness import Purpose, torch_seed


def sample_path(folder: Path, step: int, index: int) -> Path:
    """Where the video of a prompt at a step goes; its sidecar has the same name with .json."""
    return folder / f"step-{step:08d}-{index:02d}.mp4"


def have_samples(folder: Path, step: int, count: int) -> bool:
    """Whether all videos of a step are there."""
    return all(sample_path(folder, step, i).with_suffix(".json").is_file() for i in range(count))


@torch.no_grad()
def make_samples(
    folder: Path,
    step: int,
    spec: Spec,
    *,
    transformer: Any,
    vae: Any,
    scheduler: Any,
    prompts: Sequence[Tensor],
    no_prompt: Tensor,
    images: Sequence[Path],
) -> list[Path]:
    """Make one video a validation prompt; embeddings are [length, dim].

    Uses no randomness but its own, so that training goes on as if nothing had been sampled.
    """
    from diffusers import CogVideoXImageToVideoPipeline, CogVideoXPipeline
    from PIL import Image

    validation = spec.validation
    assert validation is not None
    folder.mkdir(parents=True, exist_ok=True)
    pipeline_class: Any = CogVideoXImageToVideoPipeline if images else CogVideoXPipeline
    pipeline = pipeline_class(
        tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=scheduler
    )
    pipeline.set_progress_bar_config(disable=True)
    size = spec.data.resolution
    made = []
    was_training = transformer.training
    transformer.eval()
    for index, (prompt, embedding) in enumerate(zip(validation.prompts, prompts, strict=True)):
        seed = torch_seed(validation.seed, Purpose.VALIDATION, index)
        options: dict[str, Any] = {}
        if images:
            options["image"] = Image.open(images[index]).convert("RGB")
        frames = pipeline(
            prompt_embeds=embedding[None].to(vae.device),
            negative_prompt_embeds=no_prompt[None].to(vae.device),
            height=size.height,
            width=size.width,
            num_frames=size.frames,
            num_inference_steps=validation.num_inference_steps,
            guidance_scale=validation.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
            **options,
        ).frames[0]
        path = sample_path(folder, step, index)
        write_video(path, frames, validation.fps)
        sidecar = {"prompt": prompt, "seed": seed, "step": step, "size": str(size)}
        write_bytes(path.with_suffix(".json"), json_file(sidecar))
        made.append(path)
    transformer.train(was_training)
    return made


def write_video(path: Path, frames: NDArray[np.float32], fps: int) -> None:
    """Write frames [F, H, W, 3] in 0..1; the file appears whole."""
    temporary = path.with_name(f".{path.stem}.tmp.mp4")
    write_clip(temporary, (frames * 255).round().clip(0, 255).astype(np.uint8), fps)
    temporary.replace(path)
