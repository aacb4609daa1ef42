"""What a rehearsal has in place of parts that would look at a number: fake tensors have none."""

import argparse
import functools
from collections.abc import Callable
from typing import Any

import torch
from attrs import asdict
from torch import Tensor

from cvbundle.spec.tables.architecture import Scheduler
from cvbundle.training.encode import Tokens
from cvbundle.training.models import CogVideoXDDIMScheduler
from cvbundle.training.preview import Sampler


class FakeSampler(Sampler):
    """Takes an image as it is: whether it is scaled already can't be seen in a fake tensor."""

    def pipeline(self, *, with_image: bool) -> Any:
        """diffusers' pipeline around the transformer."""
        pipeline = super().pipeline(with_image=with_image)
        pipeline.video_processor.register_to_config(do_normalize=False)
        return pipeline


def scheduler_at_its_last_timestep(config: Scheduler) -> CogVideoXDDIMScheduler:
    """The noise schedule, which treats every timestep as its last one."""
    scheduler: CogVideoXDDIMScheduler = CogVideoXDDIMScheduler(**asdict(config))
    # Any arguments, of which the pipeline looks up the names.
    step: Callable[..., Any] = scheduler.step

    @functools.wraps(step)
    def last(output: Tensor, _: int, *args: object, **kwargs: object) -> object:
        return step(output, config.num_train_timesteps - 1, *args, **kwargs)

    scheduler.step = last  # type: ignore[method-assign, assignment]
    return scheduler


class TokenCount:
    """Tokens of a caption as far as their number goes."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, text: list[str], **_: object) -> Tokens:
        """As transformers' tokenizers answer."""
        return argparse.Namespace(input_ids=torch.zeros(len(text), self._length, dtype=torch.int64))
