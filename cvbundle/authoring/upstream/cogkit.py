"""CogKit's YAML config.

Source: src/cogkit/finetune/base/base_args.py, base_trainer.py and utils/lora.py of THUDM/CogKit
(1633285).
"""

from collections.abc import Mapping

from cvbundle.authoring.upstream.draft import Draft, slug
from cvbundle.authoring.upstream.samples import draft_cogkit_data, draft_upstream_frames
from cvbundle.problems import ProblemsFound, UserError
from cvbundle.spec.tables.models import MODELS
from cvbundle.spec.text.document import Document

_TASKS = {name: card.task for card in MODELS.values() for name in card.elsewhere}
_STRATEGIES: Mapping[object, str] = {
    "DDP": "single",
    "FULL_SHARD": "fsdp",
    "HYBRID_SHARD": "fsdp",
    "SHARD_GRAD_OP": "fsdp",
    "_HYBRID_SHARD_ZERO2": "fsdp",
}
_FIELDS = frozenset(
    [
        "name4train",
        "log_level",
        "model_path",
        "model_name",
        "output_dir",
        "report_to",
        "data_root",
        "training_type",
        "strategy",
        "offload_params_grads",
        "no_grad_sync_when_accumulating",
        "resume_from_checkpoint",
        "seed",
        "train_epochs",
        "checkpointing_steps",
        "checkpointing_limit",
        "batch_size",
        "gradient_accumulation_steps",
        "mixed_precision",
        "low_vram",
        "learning_rate",
        "optimizer",
        "beta1",
        "beta2",
        "epsilon",
        "weight_decay",
        "max_grad_norm",
        "lr_scheduler",
        "num_workers",
        "pin_memory",
        "gradient_checkpointing",
        "nccl_timeout",
        "do_validation",
        "validation_steps",
        "train_resolution",
        "enable_slicing",
        "enable_tiling",
        "enable_packing",
        "gen_fps",
    ]
)


def draft_config(document: Document, draft: Draft) -> None:
    """Convert a config into a draft.

    Raises:
        ProblemsFound: the config can't be read.
        UserError: it is not a CogKit config for a CogVideoX model.
    """
    if document.problems:
        raise ProblemsFound(document.problems)
    data = document.data
    if "model_path" not in data or "model_name" not in data:
        raise UserError("not a CogKit config: model_path or model_name is missing")
    task = _TASKS.get(str(data["model_name"]))
    if task is None:
        known = ", ".join(_TASKS)
        raise UserError(f"model_name {data['model_name']}: not a CogVideoX model ({known})")
    if isinstance(data.get("name4train"), str):
        draft.put("name", slug(str(data["name4train"])))
    _model(data, task, draft)
    _training(data, task, draft)
    _rest(data, draft)
    _omitted(data, draft)


def _model(data: Mapping[str, object], task: str, draft: Draft) -> None:
    draft.put("model.path", data["model_path"])
    draft.put("model.revision", None, "not in CogKit; write the commit that you trained from")
    draft.put("model.type", task)
    draft_cogkit_data(draft, str(data.get("data_root", "data")), is_i2v=task == "i2v")
    if "train_resolution" in data:
        draft.put("data.resolution", data["train_resolution"])
    draft_upstream_frames(draft)
    draft.put("data.num_workers", data.get("num_workers", 8))
    draft.put("data.pin_memory", data.get("pin_memory", True))
    draft.put("data.vae_tiling", data.get("enable_tiling", True))
    draft.put("data.vae_slicing", data.get("enable_slicing", True))


def _training(data: Mapping[str, object], task: str, draft: Draft) -> None:
    kind = data.get("training_type", "lora")
    precision = data.get("mixed_precision")
    draft.put("training.type", kind)
    if data.get("seed") is None:
        draft.note("no seed: CogKit draws a random one; here it is 42")
    draft.put("training.seed", data.get("seed") if data.get("seed") is not None else 42)
    draft.put("training.epochs", data.get("train_epochs"))
    draft.put("training.batch_size", data.get("batch_size"))
    draft.put("training.gradient_accumulation_steps", data.get("gradient_accumulation_steps", 1))
    comment = "CogKit stores trained weights in this type; here they are in fp32"
    draft.put("training.mixed_precision", "no" if precision == "fp32" else precision, comment)
    draft.put("training.learning_rate", data.get("learning_rate", 2e-5))
    draft.put("training.max_grad_norm", data.get("max_grad_norm", 1.0))
    draft.put("training.gradient_checkpointing", data.get("gradient_checkpointing", True))
    if task == "i2v":
        draft.put("training.image_noise", {"mean": -3.0, "std": 0.5}, "CogKit's constants")
    draft.put("training.latents", "fixed", "CogKit draws each clip's latents once")
    if kind == "lora":
        draft.put("lora.rank", 128, "a constant in CogKit, like the next two")
        draft.put("lora.alpha", 64)
        draft.put("lora.target_modules", ["to_q", "to_k", "to_v", "to_out.0"])
    draft.put("optimizer.name", "adamw", "the only one in CogKit, whatever the config says")
    draft.put("optimizer.betas", [data.get("beta1", 0.9), data.get("beta2", 0.95)])
    draft.put("optimizer.epsilon", data.get("epsilon", 1e-8))
    draft.put("optimizer.weight_decay", data.get("weight_decay", 1e-4))
    draft.put("lr_scheduler.name", "cosine", "the only one in CogKit, without a warmup")
    draft.put("lr_scheduler.warmup_steps", 0)


def _rest(data: Mapping[str, object], draft: Draft) -> None:
    draft.put("checkpointing.steps", data.get("checkpointing_steps"))
    draft.put("checkpointing.limit", data.get("checkpointing_limit"))
    tracker = data.get("report_to")
    draft.put("tracking.report_to", [tracker] if tracker is not None else [])
    draft.put("launch.timeout_s", data.get("nccl_timeout", 1800))
    draft.put("output.dir", data.get("output_dir"))
    strategy = data.get("strategy", "FULL_SHARD")
    draft.put("launch.strategy", _STRATEGIES.get(strategy, strategy))
    draft.put("launch.num_processes", 1, "set by torchrun; with DDP and more than one, use ddp")
    draft.note(
        f"strategy {strategy}: torchrun sets the number of processes; for N GPUs write "
        f"num_processes: N{' and strategy: ddp' if strategy == 'DDP' else ''}"
    )
    if strategy in ("SHARD_GRAD_OP", "_HYBRID_SHARD_ZERO2"):
        draft.note(f"strategy {strategy}: fsdp shards the weights too; the result is the same")
    if data.get("do_validation") is True:
        draft.note(
            "do_validation: CogKit takes prompts from data_root/test; write them as "
            f"validation.prompts (and images), with steps: {data.get('validation_steps')}"
            + (f" and fps: {data['gen_fps']}" if data.get("gen_fps") else "")
        )


def _omitted(data: Mapping[str, object], draft: Draft) -> None:
    notes = {
        "offload_params_grads": "FSDP offload has no counterpart; zero3-offload is closest",
        "no_grad_sync_when_accumulating": "has no counterpart",
        "low_vram": "a quantized base model has no counterpart",
        "enable_packing": "batches of different sizes have no counterpart",
        "resume_from_checkpoint": "a bundle only resumes its own runs",
    }
    for name, text in notes.items():
        if data.get(name):
            draft.note(f"{name}: {text}")
    for name in ("optimizer", "lr_scheduler"):
        if name in data:
            draft.note(f"{name}: CogKit ignores it")
    for name in data:
        if name not in _FIELDS:
            draft.note(f"{name}: CogKit ignores it; omitted")
