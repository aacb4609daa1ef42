"""The options of zai-org/CogVideo's `finetune/train.py`, and of CogKit's older scripts.

Source: finetune/schemas/args.py of zai-org/CogVideo; src/cogkit/finetune/base/base_args.py of
THUDM/CogKit (62c9bfb).
"""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from cvbundle.authoring.upstream.draft import Draft
from cvbundle.authoring.upstream.shell import Word, resolved_texts
from cvbundle.problems import UserError

_TEXT = [
    "model_path",
    "model_name",
    "model_type",
    "training_type",
    "output_dir",
    "report_to",
    "data_root",
    "caption_column",
    "video_column",
    "image_column",
    "train_resolution",
    "optimizer",
    "lr_scheduler",
    "mixed_precision",
    "resume_from_checkpoint",
    "validation_dir",
    "validation_prompts",
    "validation_images",
    "validation_videos",
    "do_validation",
    "low_vram",
    "teacher_model_path",
]
_WHOLE = [
    "seed",
    "train_epochs",
    "train_steps",
    "gradient_accumulation_steps",
    "batch_size",
    "lr_warmup_steps",
    "lr_num_cycles",
    "num_workers",
    "nccl_timeout",
    "rank",
    "lora_alpha",
    "checkpointing_steps",
    "checkpointing_limit",
    "validation_steps",
    "gen_fps",
    "teacher_model_num_classes",
]
_NUMBER = [
    "learning_rate",
    "beta1",
    "beta2",
    "beta3",
    "epsilon",
    "weight_decay",
    "max_grad_norm",
    "lr_power",
    "kd_loss_weight",
]
_SWITCH = ["pin_memory", "gradient_checkpointing", "enable_slicing", "enable_tiling"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"the trainer would refuse its arguments: {message}")


def parsed_options(words: Sequence[Word], draft: Draft) -> dict[str, object]:
    """The options on the command line and their values, as the trainer's parser reads them."""
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    for name in _TEXT + _SWITCH:
        parser.add_argument(f"--{name}", type=str)
    for name in _WHOLE:
        parser.add_argument(f"--{name}", type=int)
    for name in _NUMBER:
        parser.add_argument(f"--{name}", type=float)
    parser.add_argument("--target_modules", type=str, nargs="+")
    texts, unresolved = resolved_texts(words)
    for text in unresolved:
        draft.note(f"{text}: the value is only known when the script runs; omitted")
    options, unknown = parser.parse_known_args(texts)
    for option in unknown:
        if option.startswith("-"):
            draft.note(f"{option}: not an option of this trainer; omitted")
    return vars(options)
