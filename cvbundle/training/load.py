"""Load what a run trains, in the state of its last checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import nn

from cvbundle.bundle.layout import RUN_CHECKPOINTS
from cvbundle.problems import UserError
from cvbundle.training import checkpoint, components
from cvbundle.training.job import Job
from cvbundle.training.loop import Model, Trainer
from cvbundle.training.objective import (
    Velocity,
    keep_positions,
    ofs_embedding,
    rotary_embedding,
)
from cvbundle.training.optimizers import make_optimizer, make_schedule, take_cores
from cvbundle.training.processes import Processes
from cvbundle.training.progress import Reporter
from cvbundle.training.recompute import checkpoint_blocks
from cvbundle.training.sharding import held, part, shard
from cvbundle.training.shares import fill_shares, stand_ins
from cvbundle.training.weights import Average, make_trainable

if TYPE_CHECKING:
    from cvbundle.training.models import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel


def load_trainer(
    job: Job, processes: Processes, accelerator: Accelerator, reporter: Reporter
) -> Trainer:
    """Load the transformer, add what is trained, and restore the last checkpoint.

    Raises:
        UserError: the processes don't see the same checkpoints.
    """
    spec, device = job.spec, processes.device
    dtype = components.DTYPES[spec.training.mixed_precision]
    transformer = _transformer(job, dtype, device)
    trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
    state = last_state(job.run, processes, reporter)
    if state is not None:
        _load_weights(trained, state)
    optimizer = make_optimizer(trained.values(), spec, device)
    if spec.launch.kind.offloads and device.type != "cpu":
        take_cores(optimizer)
    step = 0 if state is None else state.step
    schedule = make_schedule(optimizer, spec, job.total_steps, step)
    average = None
    if spec.training.ema_decay is not None:
        average = Average(trained, spec.training.ema_decay)
    if state is not None:
        checkpoint.restore_optimizer(optimizer, state)
        if average is not None and state.average is not None:
            average.restore(state.average)
        reporter.print(f"continues after step {step}")
    transformer.train()
    wrapped: nn.Module = transformer
    if not spec.launch.kind.shards:
        wrapped = accelerator.prepare(transformer)
    scaler = _scaler(accelerator, sharded=spec.launch.kind.shards)
    if scaler is not None and state is not None and state.scaler:
        scaler.load_state_dict(dict(state.scaler))
    scheduler = components.load_scheduler(job.model_folder)
    model = Model(
        transformer=transformer,
        wrapped=wrapped,
        velocity=Velocity(
            scheduler.alphas_cumprod, snr_gamma=spec.training.snr_gamma, device=device
        ),
        rotary=rotary_embedding(job.architecture, spec.data.resolution, device),
        ofs=ofs_embedding(job.architecture, device, dtype),
        dtype=dtype,
        vae=_image_encoder(job, dtype, device),
    )
    return Trainer(
        job=job,
        processes=processes,
        model=model,
        trained=trained,
        optimizer=optimizer,
        schedule=schedule,
        average=average,
        scaler=scaler,
        step=step,
    )


def _transformer(
    job: Job, dtype: torch.dtype, device: torch.device
) -> "CogVideoXTransformer3DModel":
    """The base model's transformer with what is trained of it, or on it; a share of it in FSDP."""
    spec, strategy = job.spec, job.spec.launch.kind
    frozen_dtype = dtype if spec.lora is not None else torch.float32
    transformer = components.empty_transformer(job.model_folder)
    where = torch.device("cpu") if strategy.shards else device
    keep_positions(transformer, job.architecture, spec.data.resolution, dtype, where)
    stored = None
    if strategy.shards:
        # Each process reads its own rows, once it is decided which.
        stored = components.stored_transformer(transformer, job.model_folder, frozen_dtype)
    else:
        components.fill_transformer(transformer, job.model_folder, frozen_dtype, where)
    with stand_ins(transformer):
        make_trainable(transformer, spec)
    checkpoint_blocks(
        transformer, spec.training.gradient_checkpointing, compiled=spec.training.compile
    )
    if spec.training.compile:
        # One by one: equal blocks share what is compiled, so it takes the time of one.
        for block in transformer.transformer_blocks:
            block.compile()
    if stored is not None:
        shard(transformer, strategy, dtype=dtype, device=device)
        held_on = torch.device("cpu") if strategy.offloads else device
        fill_shares(transformer, stored, held_on, pinned=strategy.offloads and device.type != "cpu")
    return transformer


def _scaler(accelerator: Accelerator, *, sharded: bool) -> torch.amp.GradScaler | None:
    """What scales the loss in fp16."""
    if accelerator.scaler is not None and sharded:
        # accelerate 1.15.0 makes FSDP1's, which can't add DTensors (executed).
        return torch.amp.GradScaler(accelerator.device.type)
    scaler: torch.amp.GradScaler | None = accelerator.scaler
    return scaler


def last_state(run: Path, processes: Processes, reporter: Reporter) -> checkpoint.State | None:
    """The newest intact checkpoint; the first process looks for it.

    Raises:
        UserError: another process doesn't see the same one.
    """
    folder = run / RUN_CHECKPOINTS
    newest = None
    if processes.leads:
        checkpoint.remove_leftovers(folder)
        newest = checkpoint.newest(folder, reporter.print)
    name = processes.broadcast(None if newest is None else newest.name)
    if name is None:
        return None
    first, *others = processes.gather(checkpoint.identity(folder / name))
    if different := [rank for rank, each in enumerate(others, 1) if each != first]:
        raise UserError(
            f"the processes see different checkpoints (process 0 has {name}, and process "
            f"{different[0]} another or none): put the run on a disk that all machines share, "
            "or use --fresh"
        )
    return checkpoint.read(folder / name)


def _load_weights(trained: Mapping[str, nn.Parameter], state: checkpoint.State) -> None:
    if set(trained) != set(state.weights):
        raise UserError("the checkpoint is of another adapter: begin anew with --fresh")
    with torch.no_grad():
        for name, parameter in trained.items():
            held(parameter).copy_(held(part(state.weights[name], parameter)))


def _image_encoder(
    job: Job, dtype: torch.dtype, device: torch.device
) -> "AutoencoderKLCogVideoX | None":
    """The encoder half of the VAE, where images get new noise at each visit."""
    data, training = job.spec.data, job.spec.training
    if job.spec.model.type != "i2v" or training.image_noise is None:
        return None
    return components.load_vae(
        job.model_folder,
        dtype,
        device,
        tiling=data.vae_tiling,
        slicing=data.vae_slicing,
        decoder=False,
    )
