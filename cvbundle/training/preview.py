"""Sample videos with the current weights, made by diffusers' own pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from cvbundle.files.digest import json_file
from cvbundle.files.durable import write_bytes
from cvbundle.spec.schema import Resolution
from cvbundle.training.randomness import Purpose, torch_seed

if TYPE_CHECKING:
    from PIL.Image import Image

    from cvbundle.training.models import (
        AutoencoderKLCogVideoX,
        CogVideoXTransformer3DModel,
        NoiseScheduler,
    )


def sample_path(folder: Path, step: int, index: int) -> Path:
    """Where the video of a prompt at a step goes; its sidecar has the same name with .json."""
    return folder / f"step-{step:08d}-{index:02d}.mp4"


def has_sample(folder: Path, step: int, index: int) -> bool:
    """Whether the video is there."""
    return sample_path(folder, step, index).with_suffix(".json").is_file()


def sample_seed(seed: int, index: int) -> int:
    """The seed of a prompt's noise, the same at every step: videos of two steps can be compared."""
    return torch_seed(seed, Purpose.VALIDATION, index)


@frozen(kw_only=True)
class Sampler:
    """Makes videos with a transformer; uses no randomness but its own.

    If several processes share the transformer, all of them have to make the same video.
    """

    transformer: "CogVideoXTransformer3DModel"
    vae: "AutoencoderKLCogVideoX"
    scheduler: "NoiseScheduler"
    no_prompt: Tensor
    """Embedding of no prompt, [length, dim]."""
    resolution: Resolution
    guidance_scale: float
    num_inference_steps: int

    def frames(self, embedding: Tensor, image: Path | None, seed: int) -> NDArray[np.float32]:
        """A video [F, H, W, 3] in 0..1 of a prompt, whose embedding is [length, dim]."""
        from cvbundle.training.images import read_image

        picture = None if image is None else read_image(image)
        frames = self.video(embedding, picture, seed, "np")
        assert isinstance(frames, np.ndarray)
        return frames

    @torch.no_grad()
    def video(
        self, embedding: Tensor, image: "Image | None", seed: int, kind: Literal["np", "pt"]
    ) -> NDArray[np.float32] | Tensor:
        """The same from an image that is open, as an array, or as a tensor [F, 3, H, W]."""
        size = self.resolution
        options = {} if image is None else {"image": image}
        was_training = self.transformer.training
        self.transformer.eval()
        frames = self.pipeline(with_image=image is not None)(
            prompt_embeds=embedding[None].to(self.vae.device),
            negative_prompt_embeds=self.no_prompt[None].to(self.vae.device),
            height=size.height,
            width=size.width,
            num_frames=size.frames,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type=kind,
            **options,
        ).frames[0]
        self.transformer.train(was_training)
        video: NDArray[np.float32] | Tensor = frames
        return video

    def pipeline(self, *, with_image: bool) -> Any:  # the two have no class in common
        """diffusers' pipeline around the transformer, for text or for an image and text."""
        from diffusers import CogVideoXImageToVideoPipeline, CogVideoXPipeline

        kind: Any = CogVideoXImageToVideoPipeline if with_image else CogVideoXPipeline
        pipeline = kind(
            tokenizer=None,
            text_encoder=None,
            vae=self.vae,
            transformer=self.transformer,
            scheduler=self.scheduler,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def write_sample(
    path: Path, frames: NDArray[np.float32], *, fps: int, prompt: str, seed: int, step: int
) -> None:
    """Write a video, then its sidecar, which says what it shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps)
    size = "x".join(str(length) for length in frames.shape[:3])
    sidecar = {"prompt": prompt, "seed": seed, "step": step, "size": size}
    write_bytes(path.with_suffix(".json"), json_file(sidecar))


def write_video(path: Path, frames: NDArray[np.float32], fps: int) -> None:
    """Write frames [F, H, W, 3] in 0..1; the file appears whole."""
    from cvbundle.dataset.video import write_clip

    temporary = path.with_name(f".{path.stem}.tmp.mp4")
    write_clip(temporary, (frames * 255).round().clip(0, 255).astype(np.uint8), fps)
    temporary.replace(path)
