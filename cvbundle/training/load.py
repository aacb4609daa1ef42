"""What a run trains with, as far as an earlier start of it got."""

from pathlib import Path
from typing import Any

import torch

from cvbundle.bundle.layout import RUN_CHECKPOINTS
from cvbundle.problems import UserError
from cvbundle.training import checkpoint, components
from cvbundle.training.loop import Model, Trainer
from cvbundle.training.objective import (
    Velocity,
    keep_positions,
    ofs_embedding,
    rotary_embedding,
)
from cvbundle.training.optimizers import make_optimizer, make_schedule, take_cores
from cvbundle.training.recompute import checkpoint_blocks
from cvbundle.training.session import Session
from cvbundle.training.sharding import held, part, shard
from cvbundle.training.shares import fill_shares, stand_ins
from cvbundle.training.weights import Average, make_trainable


def load_trainer(session: Session) -> Trainer:
    """Load the transformer, put on what is trained, and go to where the run is.

    Raises:
        UserError: the processes don't see the same checkpoints.
    """
    job = session.job
    spec = job.spec
    device = session.device
    dtype = components.DTYPES[spec.training.mixed_precision]
    frozen_dtype = dtype if spec.lora is not None else torch.float32
    transformer = components.empty_transformer(job.model_folder)
    where = torch.device("cpu") if spec.launch.kind.shards else device
    keep_positions(transformer, job.architecture, spec.data.resolution, dtype, where)
    stored = None
    if spec.launch.kind.shards:
        # Each process reads its own rows, once it is known which.
        stored = components.stored_transformer(transformer, job.model_folder, frozen_dtype)
    else:
        components.fill_transformer(transformer, job.model_folder, frozen_dtype, where)
    with stand_ins(transformer):
        trained = make_trainable(transformer, spec)
    checkpoint_blocks(
        transformer, spec.training.gradient_checkpointing, compiled=spec.training.compile
    )
    if spec.training.compile:
        # One by one: equal blocks share what is compiled, so it takes the time of one.
        for block in transformer.transformer_blocks:
            block.compile()
    if stored is not None:
        shard(transformer, spec.launch.kind, dtype=dtype, device=device)
        offloads = spec.launch.kind.offloads
        held_on = torch.device("cpu") if offloads else device
        fill_shares(transformer, stored, held_on, pinned=offloads and device.type != "cpu")
        trained = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
    state = _last_state(session)
    if state is not None:
        _put_weights(trained, state)
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
        session.reporter.say(f"goes on after step {step}")
    transformer.train()
    if spec.launch.kind.shards:
        if session.accelerator.scaler is not None:
            # accelerate 1.15.0 takes FSDP1's, which can't add to DTensors (executed).
            session.accelerator.scaler = torch.amp.GradScaler(device.type)
    else:
        transformer = session.accelerator.prepare(transformer)
    scaler = session.accelerator.scaler
    if scaler is not None and state is not None and state.scaler:
        scaler.load_state_dict(dict(state.scaler))
    scheduler = components.load_scheduler(job.model_folder)
    model = Model(
        transformer=transformer,
        velocity=Velocity(
            scheduler.alphas_cumprod, snr_gamma=spec.training.snr_gamma, device=device
        ),
        rotary=rotary_embedding(job.architecture, spec.data.resolution, device),
        ofs=ofs_embedding(job.architecture, device, dtype),
        dtype=dtype,
        vae=_image_encoder(session, dtype),
    )
    return Trainer(
        job=job,
        accelerator=session.accelerator,
        model=model,
        trained=trained,
        optimizer=optimizer,
        schedule=schedule,
        average=average,
        step=step,
        stop_asked=lambda: session.any(session.stop.is_set()),
    )


def _last_state(session: Session) -> checkpoint.State | None:
    """The newest checkpoint that holds: the first process looks for it, and tells the others."""
    folder = session.job.run / RUN_CHECKPOINTS
    found = None
    if session.leads:
        checkpoint.remove_leftovers(folder)
        found = checkpoint.newest(folder, session.reporter.say)
    if session.job.world_size > 1:
        found = _told(folder, found)
    return None if found is None else checkpoint.read(found)


def _told(folder: Path, found: Path | None) -> Path | None:
    """What the first process has found, if all processes see the same there.

    Raises:
        UserError: one doesn't.
    """
    from accelerate.utils import broadcast_object_list, gather_object

    told: list[Any] = [None if found is None else (found.name, checkpoint.identity(found))]
    broadcast_object_list(told)
    if told[0] is None:
        return None
    name, content = told[0]
    seen = gather_object([checkpoint.identity(folder / name)])
    if others := [number for number, each in enumerate(seen) if each != content]:
        raise UserError(
            f"the processes see different checkpoints (process 0 has {name}, and process "
            f"{others[0]} another or none): put the run on a disk that all machines share, "
            "or use --fresh"
        )
    return folder / str(name)


def _put_weights(trained: Any, state: checkpoint.State) -> None:
    if set(trained) != set(state.weights):
        raise UserError("the checkpoint is of another adapter: begin anew with --fresh")
    with torch.no_grad():
        for name, parameter in trained.items():
            held(parameter).copy_(held(part(state.weights[name], parameter)))


def _image_encoder(session: Session, dtype: torch.dtype) -> Any:
    """The encoder half of the VAE, where images get new noise at each visit."""
    spec = session.job.spec
    if spec.model.type != "i2v" or spec.training.image_noise is None:
        return None
    return components.load_vae(
        session.job.model_folder,
        dtype,
        session.device,
        tiling=spec.data.vae_tiling,
        slicing=spec.data.vae_slicing,
        decoder=False,
    )
