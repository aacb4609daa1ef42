"""The optimizer that the spec names, never another one, and its learning rate schedule."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec

_QUANTISED = 4096
"""Elements from which on bitsandbytes keeps the state of a parameter in 8 bits."""


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
                return _eight_bit(trained, device, **adam)
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


def _eight_bit(
    trained: list[nn.Parameter], device: torch.device, **settings: Any
) -> torch.optim.Optimizer:
    """bitsandbytes' AdamW, whose state a checkpoint can hold.

    Raises:
        UserError: this build of bitsandbytes has no code for the device.
    """
    from bitsandbytes.optim import AdamW8bit

    class FlatAdamW8bit(AdamW8bit):  # type: ignore[misc]
        """Its own `state_dict` hides the quantised state in a dict of its own (0.50.2)."""

        def state_dict(self) -> dict[str, Any]:
            """Every tensor of a parameter under its name, with memory of its own."""
            found = torch.optim.Optimizer.state_dict(self)
            state = {
                # All parameters share the tables of what each byte stands for.
                index: {k: v.clone() if k.startswith("qmap") else v for k, v in values.items()}
                for index, values in found["state"].items()
            }
            return {**found, "state": state}

    # A build for another CUDA is imported without a word, and fails where it is used.
    tried = nn.Parameter(torch.ones(_QUANTISED, device=device))
    tried.grad = torch.ones_like(tried)
    try:
        AdamW8bit([tried], **settings).step()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"optimizer adamw8bit can't take a step on {device.type} ({reason}): "
            "install a bitsandbytes that was built for this CUDA, or use adamw"
        ) from None
    optimizer: torch.optim.Optimizer = FlatAdamW8bit(trained, **settings)
    return optimizer


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
