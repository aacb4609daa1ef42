"""The optimizer that the spec names, never another one, and its learning rate schedule."""

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import psutil
import torch
from torch import nn

from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.optimizers import OptimizerKind

Constructor = Callable[..., torch.optim.Optimizer]
_FUSED_ON = ("cpu", "cuda")
"""Devices for which torch has fused steps."""
_QUANTIZED = 4096
"""Elements from which on bitsandbytes keeps the state of a parameter in 8 bits."""


def make_optimizer(
    parameters: Iterable[nn.Parameter], spec: Spec, device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer over these parameters.

    Raises:
        UserError: its package is not installed.
    """
    kind, trained = spec.optimizer.kind, list(parameters)
    settings = _settings(spec)
    if kind.fused and device.type in _FUSED_ON:
        settings["fused"] = True
    module, _, name = kind.constructor.partition(":")
    try:
        constructor = getattr(import_module(module), name)
    except ImportError as error:
        raise UserError(
            f"optimizer {kind.name} needs a package that is not installed ({error.name}): "
            "pip install -r requirements.txt"
        ) from None
    if kind.quantized:
        _require_code(kind, constructor, device, settings)
        constructor = _with_flat_state(constructor)
    optimizer: torch.optim.Optimizer = constructor(trained, **settings)
    return optimizer


def _settings(spec: Spec) -> dict[str, object]:
    """The spec's settings as the optimizer takes them."""
    kind, optimizer = spec.optimizer.kind, spec.optimizer
    betas = optimizer.betas[:2]
    settings: dict[str, object] = {
        "lr": spec.training.learning_rate,
        "weight_decay": optimizer.weight_decay,
        "betas": betas,
    }
    if kind.takes_epsilon:
        settings["eps"] = optimizer.epsilon
    third = kind.third_beta_default if optimizer.beta3 is None else optimizer.beta3
    if kind.third_beta == "beta3":
        settings["beta3"] = third
    elif kind.third_beta == "betas":
        settings["betas"] = (*betas, third)
    return settings


def _require_code(
    kind: OptimizerKind,
    constructor: Constructor,
    device: torch.device,
    settings: Mapping[str, object],
) -> None:
    """Take a step with one parameter.

    A build for another CUDA is imported without a word, and fails where it is used.

    Raises:
        UserError: this build of the optimizer's package has no code for the device.
    """
    tried = nn.Parameter(torch.ones(_QUANTIZED, device=device))
    tried.grad = torch.ones_like(tried)
    try:
        constructor([tried], **settings).step()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"optimizer {kind.name} can't take a step on {device.type} ({reason}): "
            f"install a {kind.distribution} that was built for this CUDA, or use adamw"
        ) from None


def _with_flat_state(constructor: Constructor) -> Constructor:
    """bitsandbytes' optimizer with a state that a checkpoint can hold.

    Its own `state_dict` hides the quantized state in a dict of its own (0.50.2).
    """

    class Flat(constructor):  # type: ignore[misc, valid-type]
        def state_dict(self) -> dict[str, Any]:
            """Every tensor of a parameter under its name, with memory of its own."""
            current = torch.optim.Optimizer.state_dict(self)
            state = {
                # All parameters share the tables of what each byte stands for.
                index: {k: v.clone() if k.startswith("qmap") else v for k, v in values.items()}
                for index, values in current["state"].items()
            }
            return {**current, "state": state}

    return Flat


def take_cores(optimizer: torch.optim.Optimizer) -> None:
    """Give the updates this process's share of the machine's cores; everything else keeps its own.

    A process of several has one thread, since the device computes. Parameters in host memory are
    updated by the processor, and one thread takes 7 to 10 s for those of a 5b (1.3 G a second).
    """
    own = torch.get_num_threads()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = max(own, len(psutil.Process().cpu_affinity()) // local)
    optimizer.register_step_pre_hook(lambda *_: torch.set_num_threads(share))
    optimizer.register_step_post_hook(lambda *_: torch.set_num_threads(own))


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
