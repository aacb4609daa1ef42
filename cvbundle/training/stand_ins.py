"""What a rehearsal has in place of parts that would look at a number: fake tensors have none."""

import argparse
import functools
from typing import Any

import torch
from attrs import asdict
from diffusers import CogVideoXDDIMScheduler

from cvbundle.spec.tables.architecture import Scheduler
from cvbundle.training.preview import Sampler


class FakeSampler(Sampler):
    """Takes an image as it is: whether it is scaled already can't be seen in a fake tensor."""

    def pipeline(self, *, with_image: bool) -> Any:
        """diffusers' pipeline around the transformer."""
        pipeline = super().pipeline(with_image=with_image)
        pipeline.video_processor.register_to_config(do_normalize=False)
        return pipeline


def scheduler_at_its_last_timestep(config: Scheduler) -> Any:
    """The noise schedule, which takes every timestep for its last one."""
    kind: Any = CogVideoXDDIMScheduler
    scheduler = kind(**asdict(config))
    step = scheduler.step

    @functools.wraps(step)
    def last(output: Any, _: Any, *args: Any, **kwargs: Any) -> Any:
        return step(output, config.num_train_timesteps - 1, *args, **kwargs)

    scheduler.step = last
    return scheduler


class TokenCount:
    """Tokens of a caption as far as their number goes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, texts: list[str], **_: object) -> Any:
        """As transformers' tokenizers answer."""
        return argparse.Namespace(
            input_ids=torch.zeros(len(texts), self._length, dtype=torch.int64)
        )
