"""What other trainers call the fields of a spec, so that whoever knows theirs finds ours."""

from collections.abc import Mapping

from cvbundle.spec.fields import all_fields

_NAMES: Mapping[str, tuple[str, ...]] = {
    "cvbundle": ("version",),
    "model.path": (
        "base_model",
        "model_id",
        "model_name_or_path",
        "pretrained_model",
        "pretrained_model_name_or_path",
    ),
    "data.root": (
        "data_dir",
        "dataset",
        "dataset_path",
        "instance_data_dir",
        "instance_data_root",
        "train_data_dir",
    ),
    "data.metadata": ("dataset_file", "metadata_path"),
    "data.resolution": (
        "frames",
        "height",
        "max_num_frames",
        "num_frames",
        "train_resolution",
        "video_resolution_buckets",
        "width",
    ),
    "data.caption_column": ("caption_file",),
    "data.video_column": ("video_file",),
    "data.caption_prefix": ("id_token", "instance_prompt", "trigger_word"),
    "data.caption_dropout": ("caption_dropout_p", "caption_dropout_rate"),
    "data.num_workers": ("dataloader_num_workers",),
    "data.vae_tiling": ("enable_tiling",),
    "data.vae_slicing": ("enable_slicing",),
    "training.type": ("train_type",),
    "training.epochs": ("max_train_epochs", "num_epochs", "num_train_epochs", "train_epochs"),
    "training.steps": ("max_steps", "max_train_steps", "num_steps", "train_steps"),
    "training.batch_size": ("per_device_train_batch_size", "train_batch_size"),
    "training.gradient_accumulation_steps": ("grad_accum", "gradient_accumulation"),
    "training.mixed_precision": ("dtype", "precision"),
    "training.learning_rate": ("lr",),
    "training.max_grad_norm": ("grad_clip", "gradient_clipping"),
    "training.ema_decay": ("ema",),
    "training.image_dropout": ("noised_image_dropout",),
    "lora.rank": ("dim", "network_dim", "r"),
    "lora.alpha": ("network_alpha",),
    "lora.target_modules": ("target_module", "targets"),
    "lora.rslora": ("use_rslora",),
    "optimizer.name": ("optimizer_type",),
    "optimizer.betas": ("adam_beta1", "adam_beta2", "beta1", "beta2"),
    "optimizer.beta3": ("prodigy_beta3",),
    "optimizer.epsilon": ("adam_epsilon", "eps"),
    "optimizer.weight_decay": ("adam_weight_decay", "wd"),
    "lr_scheduler.name": ("lr_scheduler_type",),
    "lr_scheduler.warmup_steps": ("lr_warmup_steps", "num_warmup_steps", "warmup"),
    "lr_scheduler.num_cycles": ("lr_num_cycles",),
    "lr_scheduler.power": ("lr_power",),
    "checkpointing.steps": ("save_every", "save_steps"),
    "checkpointing.limit": ("checkpoints_total_limit", "save_total_limit"),
    "validation.steps": ("validation_epochs",),
    "validation.prompts": ("validation_prompt",),
    "validation.images": ("validation_image",),
    "validation.fps": ("gen_fps",),
    "validation": ("do_validation",),
    "tracking.report_to": ("log_with", "logger"),
    "tracking.project": ("tracker_name", "wandb_project"),
    "launch.num_processes": ("gpus", "nproc_per_node", "num_gpus", "world_size"),
    "launch.num_machines": ("nnodes", "num_nodes"),
    "launch.timeout_s": ("nccl_timeout",),
}
PARTS = frozenset(
    (
        "adam_beta1",
        "adam_beta2",
        "beta1",
        "beta2",
        "do_validation",
        "frames",
        "height",
        "max_num_frames",
        "num_frames",
        "width",
    )
)
"""Names of what is only a part of our field, so that the value is another one."""
_FIELDS = {name: field for field, names in _NAMES.items() for name in names}


def field_called(key: str) -> str | None:
    """The field that others call `key`; `checkpointing_steps` is that of a section, too."""
    key = key.lower()
    if key in _FIELDS:
        return _FIELDS[key]
    named = (field for field in all_fields() if len(field.path) == 2)
    return next((field.name for field in named if "_".join(field.path) == key), None)
