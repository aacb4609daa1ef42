"""The optimizer that the spec names, never another one, and its learning rate schedule."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec


def make_optimizer(
    parameters: Iterable[nn.Parameter], spec: Spec, device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over these parameters.

    Raises:
        UserError: its package is not installed.
    """
    optimizer = spec.optimizer
    common: dict[str, Any] = {
        "lr": spec.training.learning_rate,
        "weight_decay": optimizer.weight_decay,
    }
    adam = {**common, "betas": tuple(optimizer.betas[:2]), "eps": optimizer.epsilon}
    trained = list(parameters)
    try:
        match optimizer.name:
            case "adamw":
                return torch.optim.AdamW(trained, fused=device.type in ("cpu", "cuda"), **adam)
            case "adam":
                return torch.optim.Adam(trained, fused=device.type in ("cpu", "cuda"), **adam)
            case "adamw8bit":
                from bitsandbytes.optim import AdamW8bit

                return AdamW8bit(trained, **adam)  # type: ignore[no-any-return]
            case "prodigy":
                from prodigyopt import Prodigy

                return Prodigy(trained, beta3=optimizer.beta3, **adam)  # type: ignore[no-any-return]
            case "came":
                from came_pytorch import CAME

                third = 0.9999 if optimizer.beta3 is None else optimizer.beta3
                betas = (*optimizer.betas[:2], third)
                return CAME(trained, betas=betas, **common)  # type: ignore[no-any-return]
    except ImportError as error:
        raise UserError(
            f"optimizer {optimizer.name} needs a package that is not installed ({error.name}): "
            "pip install -r requirements.txt"
        ) from None


def make_schedule(
    optimizer: torch.optim.Optimizer, spec: Spec, total_steps: int, done: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate by optimizer step, set to where it is after `done` steps."""
    from diffusers.optimization import get_scheduler

    schedule: torch.optim.lr_scheduler.LambdaLR = get_scheduler(
        spec.lr_scheduler.name,
        optimizer=optimizer,
        num_warmup_steps=spec.lr_scheduler.warmup_steps,
        num_training_steps=total_steps,
        num_cycles=spec.lr_scheduler.num_cycles,
        power=spec.lr_scheduler.power,
    )
    if done:
        # A LambdaLR has no history: the rate is a function of the step.
        schedule.last_epoch = done
        rates = [
            base * factor(done)
            for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
        ]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates
    return schedule
