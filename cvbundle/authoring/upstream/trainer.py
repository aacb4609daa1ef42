"""The command line of zai-org/CogVideo's `finetune/train.py`, and of CogKit's older scripts.

Source: finetune/schemas/args.py, finetune/trainer.py and finetune/datasets/utils.py of
zai-org/CogVideo; src/cogkit/finetune/base/base_args.py of THUDM/CogKit (62c9bfb).
"""

from collections.abc import Sequence

from cvbundle.authoring.upstream.draft import Draft
from cvbundle.authoring.upstream.launcher import Processes
from cvbundle.authoring.upstream.options import parsed_options
from cvbundle.authoring.upstream.samples import draft_cogkit_data, draft_upstream_frames
from cvbundle.authoring.upstream.shell import Word
from cvbundle.problems import UserError
from cvbundle.spec.tables.optimizers import OPTIMIZERS

_OPTIMIZERS = ("adam", "adamw", "prodigy", "came")
_DEFAULT_TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


def draft_arguments(words: Sequence[Word], processes: Processes, draft: Draft) -> None:
    """Convert a command line into a draft.

    Raises:
        UserError: it is not this trainer's, or a spec can't express it.
    """
    options = parsed_options(words, draft)
    if "model_path" not in options:
        raise UserError(
            "no --model_path: only zai-org/CogVideo's finetune/train.py and CogKit are supported"
        )
    if options.get("training_type", "lora") not in ("lora", "sft"):
        raise UserError(f"--training_type {options['training_type']}: cvbundle trains lora and sft")
    converter = _Converter(options, draft)
    converter.model()
    converter.data()
    converter.training()
    converter.adapter()
    converter.optimizer(processes)
    converter.rest()
    draft.put("launch.strategy", processes.strategy)
    draft.put("launch.num_processes", processes.num_processes)
    if processes.num_machines > 1:
        draft.put("launch.num_machines", processes.num_machines)


class _Converter:
    """Converts one command line; each method writes the section that it is named after."""

    def __init__(self, options: dict[str, object], draft: Draft) -> None:
        self.options = options
        self.draft = draft
        self.is_i2v = options.get("model_type") == "i2v"
        # CogKit's trainer has no column options: its datasets have a fixed layout.
        self.is_cogkit = "caption_column" not in options and "video_column" not in options
        self.is_lora = options.get("training_type", "lora") == "lora"

    def get(self, name: str, default: object = None) -> object:
        """The value of an option, or its default upstream."""
        return self.options.get(name, default)

    def switch(self, name: str) -> tuple[bool, str]:
        """A boolean option as the trainer reads it, with a comment if that is unexpected."""
        text = str(self.get(name, "True"))
        if self.is_cogkit and name in ("pin_memory", "gradient_checkpointing"):
            return text.lower() == "true", ""
        # `type=bool` is true for every text that isn't empty.
        if text and text.lower() in ("false", "0", "no", "off"):
            self.draft.note(
                f"--{name} {text}: the trainer reads any text as True, so it is true here; write "
                "false if that was intended"
            )
            return True, f"upstream reads {text} as True"
        return bool(text), ""

    def model(self) -> None:
        """`model` and `training.type`."""
        draft = self.draft
        draft.put("model.path", self.get("model_path"))
        draft.put(
            "model.revision",
            None,
            "not upstream; write the commit that you trained from",
        )
        if "model_type" in self.options:
            draft.put("model.type", self.get("model_type"))
        if "model_name" in self.options:
            draft.note(
                f"--model_name {self.get('model_name')}: inferred from the model's files instead"
            )
        draft.put("training.type", self.get("training_type", "lora"))

    def data(self) -> None:
        """`data`."""
        draft = self.draft
        root = str(self.get("data_root", "data"))
        if self.is_cogkit:
            draft_cogkit_data(draft, root, is_i2v=self.is_i2v)
        else:
            draft.put("data.root", root)
            for name in ("caption_column", "video_column"):
                if name in self.options:
                    draft.put(f"data.{name}", self.get(name))
            if self.is_i2v:
                image = self.get("image_column")
                draft.put("data.image_column", image, "" if image else "the clip's first frame")
            elif "image_column" in self.options:
                draft.note("--image_column: text to video uses no image; omitted")
        if "train_resolution" in self.options:
            draft.put("data.resolution", self.get("train_resolution"))
        draft_upstream_frames(draft)
        draft.put("data.num_workers", self.get("num_workers", 8))
        draft.put("data.pin_memory", *self.switch("pin_memory"))
        draft.put("data.vae_tiling", *self.switch("enable_tiling"))
        draft.put("data.vae_slicing", *self.switch("enable_slicing"))

    def training(self) -> None:
        """`training`."""
        draft = self.draft
        draft.put("training.seed", self.get("seed", 42))
        if "train_steps" in self.options:
            draft.put("training.steps", self.get("train_steps"))
            if "train_epochs" in self.options:
                draft.note("--train_epochs: overridden by --train_steps")
        else:
            draft.put("training.epochs", self.get("train_epochs", 1 if self.is_cogkit else 10))
        draft.put("training.batch_size", self.get("batch_size", 1))
        draft.put(
            "training.gradient_accumulation_steps", self.get("gradient_accumulation_steps", 1)
        )
        draft.put(
            "training.mixed_precision",
            self.get("mixed_precision", "no"),
            "upstream keeps the frozen weights in fp32; here they have this type too"
            if self.is_lora
            else "",
        )
        draft.put("training.learning_rate", self.get("learning_rate", 2e-5))
        draft.put("training.max_grad_norm", self.get("max_grad_norm", 1.0))
        draft.put("training.gradient_checkpointing", *self.switch("gradient_checkpointing"))
        if self.is_i2v:
            draft.put("training.image_noise", {"mean": -3.0, "std": 0.5}, "upstream's constants")
        draft.put("training.latents", "fixed", "upstream draws each clip's latents once")
        if str(self.get("low_vram", "false")).lower() == "true":
            draft.note("--low_vram (a quantized base model) has no counterpart")

    def adapter(self) -> None:
        """`lora`."""
        if not self.is_lora:
            for name in ("rank", "lora_alpha", "target_modules"):
                if name in self.options:
                    self.draft.note(f"--{name}: full fine-tuning has no adapter; omitted")
            return
        self.draft.put("lora.rank", self.get("rank", 128))
        self.draft.put("lora.alpha", self.get("lora_alpha", 64))
        self.draft.put("lora.target_modules", self.get("target_modules", _DEFAULT_TARGETS))

    def optimizer(self, processes: Processes) -> None:
        """`optimizer` and `lr_scheduler`."""
        draft = self.draft
        name = str(self.get("optimizer", "adamw")).lower()
        if name not in _OPTIMIZERS:
            draft.note(f"--optimizer {name}: unknown to the trainer, which silently uses adamw")
            name = "adamw"
        betas = [self.get("beta1", 0.9), self.get("beta2", 0.95)]
        schedule = self.get("lr_scheduler", "constant_with_warmup")
        warmup = self.get("lr_warmup_steps", 100)
        if processes.by_deepspeed:
            name, betas, schedule, warmup = self._deepspeed(processes)
        draft.put("optimizer.name", name)
        draft.put("optimizer.betas", betas)
        draft.put("optimizer.epsilon", self.get("epsilon", 1e-8))
        draft.put("optimizer.weight_decay", self.get("weight_decay", 1e-4))
        if OPTIMIZERS[name].third_beta:
            draft.put("optimizer.beta3", self.get("beta3", 0.98))
        draft.put("lr_scheduler.name", schedule)
        draft.put("lr_scheduler.warmup_steps", warmup)
        draft.put("lr_scheduler.num_cycles", self.get("lr_num_cycles", 1))
        draft.put("lr_scheduler.power", self.get("lr_power", 1.0))

    def _deepspeed(self, processes: Processes) -> tuple[str, list[object], str, object]:
        """The optimizer and schedule of DeepSpeed's own config.

        Source: finetune/configs/zero*.yaml of zai-org/CogVideo (AdamW without betas,
        WarmupDecayLR); accelerate 1.15.0, accelerator.py `_prepare_deepspeed`: the warmup, which
        the trainer multiplies by the number of processes, is not divided again, and gradients are
        clipped at 1.0.
        """
        self.draft.note(
            "DeepSpeed's config replaces the optimizer and the schedule: AdamW with betas 0.9 and "
            "0.999, and WarmupDecayLR, whose warmup is logarithmic (here it is linear) and lasts "
            "lr_warmup_steps times the number of processes"
        )
        if self.get("max_grad_norm", 1.0) != 1.0:
            self.draft.note("--max_grad_norm: ignored by DeepSpeed, which clips at 1.0")
            self.draft.put("training.max_grad_norm", 1.0)
        warmup = self.get("lr_warmup_steps", 100)
        assert isinstance(warmup, int)
        return "adamw", [0.9, 0.999], "linear", warmup * processes.num_processes

    def rest(self) -> None:
        """`checkpointing`, `validation`, `tracking`, `launch.timeout_s` and `output`."""
        draft = self.draft
        draft.put("checkpointing.steps", self.get("checkpointing_steps", 200))
        draft.put("checkpointing.limit", self.get("checkpointing_limit", 10))
        if "resume_from_checkpoint" in self.options:
            draft.note(
                f"--resume_from_checkpoint {self.get('resume_from_checkpoint')}: a bundle only "
                "resumes its own runs"
            )
        self._validation()
        report_to = str(self.get("report_to", "none")).lower()
        if report_to == "all":
            draft.note("--report_to all: means all that are installed; here it is tensorboard")
            report_to = "tensorboard"
        draft.put("tracking.report_to", [] if report_to == "none" else [report_to])
        draft.put("tracking.project", "diffusion-tracker" if self.is_cogkit else _TRACKER)
        draft.put("launch.timeout_s", self.get("nccl_timeout", 1800))
        if "output_dir" in self.options:
            draft.put("output.dir", self.get("output_dir"))

    def _validation(self) -> None:
        draft = self.draft
        if str(self.get("do_validation", "false")).lower() != "true":
            unused = [f"--{name}" for name in self.options if name.startswith("validation_")]
            if unused:
                draft.note(f"{', '.join(unused)}: not used, since --do_validation is not true")
            return
        if self.is_cogkit:
            draft.note(
                "validation: CogKit takes prompts from data_root/test; write them as "
                "validation.prompts (and images) with validation.steps"
            )
            return
        draft.put("validation.steps", self.get("validation_steps"))
        folder = str(self.get("validation_dir", "")).rstrip("/")
        for name in ("prompts", "images"):
            if listed := self.get(f"validation_{name}"):
                draft.put(f"validation.{name}", f"{folder}/{listed}" if folder else listed)
        if "validation_images" in self.options:
            draft.note(
                "--validation_images: upstream's paths are relative to the list; here they are "
                "relative to the spec's folder"
            )
        if "validation_videos" in self.options:
            draft.note("--validation_videos: video to video is not supported")
        draft.put("validation.fps", self.get("gen_fps", 15))
        draft.put("validation.seed", self.get("seed", 42))


_TRACKER = "finetrainer-cogvideo"
