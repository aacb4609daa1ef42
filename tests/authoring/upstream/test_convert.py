"""A converted script or config trains the same, and notes where it can't."""

from pathlib import Path
from typing import Any

import pytest

from cvbundle.authoring.upstream.convert import Converted, convert_file
from cvbundle.cli import main
from cvbundle.compiler.check import Checked, check_file
from cvbundle.problems import Problem, ProblemsFound, UserError
from cvbundle.spec.schema import Spec

SCRIPT = """\
#!/usr/bin/env bash
export TOKENIZERS_PARALLELISM=false

# The model
MODEL_ARGS=(
    --model_path "THUDM/CogVideoX-5b"
    --model_name "cogvideox-t2v"  # or "cogvideox1.5-t2v"
    --model_type "t2v"
    --training_type "lora"
)
OUTPUT_ARGS=(
    --output_dir "out"
    --report_to "wandb"
)
DATA_ARGS=(
    --data_root "clips"
    --caption_column "prompts.txt"
    --video_column "videos.txt"
    --train_resolution "49x480x720"  # frames x height x width
)
TRAIN_ARGS=(
    --train_epochs 10
    --batch_size 2
    --mixed_precision "bf16"
)
SYSTEM_ARGS=(
    --num_workers 8
    --pin_memory True
    --nccl_timeout 900
)
CHECKPOINT_ARGS=(
    --checkpointing_steps 5
    --checkpointing_limit 2
)
VALIDATION_ARGS=(
    --do_validation false
    --validation_steps 20
)
accelerate launch train.py \\
    "${MODEL_ARGS[@]}" \\
    "${OUTPUT_ARGS[@]}" \\
    "${DATA_ARGS[@]}" \\
    "${TRAIN_ARGS[@]}" \\
    "${SYSTEM_ARGS[@]}" \\
    "${CHECKPOINT_ARGS[@]}" \\
    "${VALIDATION_ARGS[@]}"
"""
CONFIG = """\
name4train: "My t2v"
model_name: "cogvideox-t2v"
model_path: "THUDM/CogVideoX-5b"
output_dir: out
report_to: null
data_root: clips
seed: 7
training_type: "sft"
strategy: "FULL_SHARD"
offload_params_grads: true
train_resolution: [49, 480, 720]
train_epochs: 3
batch_size: 1
gradient_accumulation_steps: 4
mixed_precision: "bf16"
learning_rate: 2.0e-5
num_workers: 8
pin_memory: false
checkpointing_steps: 10
checkpointing_limit: 2
do_validation: true
validation_steps: 10
gen_fps: 16
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a dataset that lists one clip many times; it is never opened."""
    for clips in (tmp_path / "clips", tmp_path / "clips" / "train"):
        clips.mkdir()
        (clips / "a.mp4").write_bytes(b"")
        # Enough for a few epochs to be longer than their warmup.
        (clips / "videos.txt").write_text("a.mp4\n" * 400)
        (clips / "prompts.txt").write_text("".join(f"Cat {i}.\n" for i in range(400)))
    return tmp_path


def converted(folder: Path, text: str, name: str = "train_ddp_t2v.sh") -> Converted:
    path = folder / name
    path.write_text(text)
    return convert_file(path)


def checked(folder: Path, text: str, name: str = "train_ddp_t2v.sh") -> Checked:
    path = folder / "spec.yaml"
    path.write_text(converted(folder, text, name).text)
    return check_file(path)


def spec_of(folder: Path, text: str, name: str = "train_ddp_t2v.sh") -> Spec:
    return checked(folder, text, name).first.spec


def notes(folder: Path, text: str, name: str = "train_ddp_t2v.sh") -> str:
    found = converted(folder, text, name)
    # All of them stand in the spec, too.
    for note in found.notes:
        assert note.split()[0] in found.text
    return "\n".join(found.notes)


def with_argument(argument: str) -> str:
    return SCRIPT.replace("    --train_epochs 10\n", f"    --train_epochs 10\n    {argument}\n")


def test_a_converted_script_has_no_problems(folder: Path) -> None:
    assert checked(folder, SCRIPT).problems == ()


def test_the_options_of_a_script_are_in_the_spec(folder: Path) -> None:
    spec = spec_of(folder, SCRIPT)
    assert spec.name == "train_ddp_t2v"
    assert (spec.model.path, spec.model.type) == ("THUDM/CogVideoX-5b", "t2v")
    assert (spec.data.root, spec.data.caption_column) == ("clips", "prompts.txt")
    assert (spec.data.num_workers, spec.data.pin_memory) == (8, True)
    assert str(spec.data.resolution) == "49x480x720"
    assert (spec.training.epochs, spec.training.steps) == (10, None)
    assert spec.training.batch_size == 2
    assert (spec.checkpointing.steps, spec.checkpointing.limit) == (5, 2)
    assert spec.tracking.report_to == ("wandb",)
    assert spec.launch.timeout_s == 900
    assert spec.output.dir == "out"
    assert spec.validation is None


def test_missing_options_have_the_trainers_defaults(folder: Path) -> None:
    spec = spec_of(folder, SCRIPT)
    assert spec.training.learning_rate == 2e-5
    assert spec.training.seed == 42
    assert spec.lora is not None
    assert (spec.lora.rank, spec.lora.alpha) == (128, 64.0)
    assert spec.lora.target_modules == ("to_q", "to_k", "to_v", "to_out.0")
    assert (spec.optimizer.name, spec.optimizer.betas) == ("adamw", (0.9, 0.95))
    assert spec.optimizer.weight_decay == 1e-4
    assert (spec.lr_scheduler.name, spec.lr_scheduler.warmup_steps) == ("constant_with_warmup", 100)


def test_frames_are_sampled_as_upstream(folder: Path) -> None:
    data = spec_of(folder, SCRIPT).data
    assert (data.fit, data.frame_sampling, data.short_clips) == ("stretch", "stride", "repeat_last")
    assert spec_of(folder, SCRIPT).training.latents == "fixed"


@pytest.mark.parametrize("text", ["False", "false", "0"])
@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("gradient_checkpointing", "training.gradient_checkpointing"),
        ("enable_tiling", "data.vae_tiling"),
        ("enable_slicing", "data.vae_slicing"),
    ],
)
def test_a_false_that_upstream_reads_as_true_stays_true_and_is_noted(
    folder: Path, option: str, field: str, text: str
) -> None:
    script = with_argument(f"--{option} {text}")
    section, name = field.split(".")
    assert getattr(getattr(spec_of(folder, script), section), name) is True
    assert f"--{option} {text}: the trainer reads any text as True" in notes(folder, script)


def test_only_an_empty_text_is_false_to_the_trainer(folder: Path) -> None:
    spec = spec_of(folder, with_argument('--gradient_checkpointing ""'))
    assert spec.training.gradient_checkpointing is False


def test_enabled_validation_is_kept(folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set" / "prompts.txt").write_text("A dog.\n")
    script = SCRIPT.replace(
        "--do_validation false", "--do_validation True --validation_dir set --gen_fps 16"
    ).replace("--validation_steps 20", '--validation_steps 20 --validation_prompts "prompts.txt"')
    validation = spec_of(folder, script).validation
    assert validation is not None
    assert (validation.steps, validation.prompts, validation.fps) == (20, ("A dog.",), 16)


def test_steps_override_epochs(folder: Path) -> None:
    spec = spec_of(folder, with_argument("--train_steps 500"))
    assert (spec.training.steps, spec.training.epochs) == (500, None)


@pytest.mark.parametrize(
    ("argument", "note"),
    [
        ("--resume_from_checkpoint /ckpt", "--resume_from_checkpoint /ckpt"),
        ("--low_vram true", "--low_vram"),
        ("--no_such_option 1", "--no_such_option"),
        ("--seed $RANDOM", "--seed $RANDOM"),
        ("--optimizer adamww", "--optimizer adamww"),
    ],
)
def test_options_without_a_counterpart_are_noted(folder: Path, argument: str, note: str) -> None:
    assert note in notes(folder, with_argument(argument))
    assert checked(folder, with_argument(argument)).problems == ()


def test_an_unknown_optimizer_becomes_the_one_that_upstream_uses(folder: Path) -> None:
    assert spec_of(folder, with_argument("--optimizer sgd")).optimizer.name == "adamw"


def test_the_third_beta_is_for_optimizers_that_have_one(folder: Path) -> None:
    assert spec_of(folder, SCRIPT).optimizer.beta3 is None
    assert "beta3: 0.98" in converted(folder, with_argument("--optimizer prodigy")).text


def test_an_invalid_value_is_left_for_check(folder: Path) -> None:
    script = SCRIPT.replace("49x480x720", "48x480x720")
    assert [problem.rule for problem in checked(folder, script).problems] == ["frames-vae"]


def test_values_that_the_trainer_rejects_are_one_sentence(folder: Path) -> None:
    with pytest.raises(UserError, match="would refuse its arguments: argument --rank"):
        converted(folder, with_argument("--rank high"))


def test_an_accelerate_config_beside_the_script_sets_the_launch(folder: Path) -> None:
    (folder / "accelerate_config.yaml").write_text(
        "num_processes: 8\ndistributed_type: DEEPSPEED\ndowncast_bf16: 'no'\n"
        "deepspeed_config: {deepspeed_config_file: zero2.json, zero3_init_flag: false}\n"
    )
    (folder / "zero2.json").write_text(
        '{"optimizer": {"type": "AdamW"},\n\t"zero_optimization": {"stage": 2, '
        '"offload_optimizer": {"device": "cpu"}, "reduce_bucket_size": 5e8}}'.replace("\t", " ")
    )
    script = SCRIPT.replace(
        "launch train.py", "launch --config_file accelerate_config.yaml train.py"
    )
    spec = spec_of(folder, script)
    assert (spec.launch.strategy, spec.launch.num_processes) == ("zero2-offload", 8)
    # DeepSpeed's own config decides these: see upstream.trainer.
    assert spec.optimizer.betas == (0.9, 0.999)
    assert (spec.lr_scheduler.name, spec.lr_scheduler.warmup_steps) == ("linear", 800)
    assert "DeepSpeed's config replaces" in notes(folder, script)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("distributed_type: 'NO'\n", ("single", 1)),
        ("distributed_type: MULTI_GPU\nnum_processes: 4\n", ("ddp", 4)),
        ("distributed_type: FSDP\nnum_processes: 2\n", ("fsdp", 2)),
        (
            "distributed_type: DEEPSPEED\nnum_processes: 2\n"
            "deepspeed_config: {zero_stage: 3, offload_param_device: cpu}\n",
            ("zero3-offload", 2),
        ),
        (
            "distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: {zero_stage: 3}\n",
            ("zero3", 2),
        ),
    ],
)
def test_every_distributed_type_has_its_strategy(
    folder: Path, config: str, expected: tuple[str, int]
) -> None:
    (folder / "a.yaml").write_text(config)
    launch = spec_of(
        folder, SCRIPT.replace("launch train", "launch --config-file a.yaml train")
    ).launch
    assert (launch.strategy, launch.num_processes) == expected


def test_a_missing_config_is_noted(folder: Path) -> None:
    script = SCRIPT.replace("launch train.py", "launch --config_file gone.yaml train.py")
    assert "gone.yaml can't be read" in notes(folder, script)


def test_the_number_of_processes_is_read_from_the_command_line(folder: Path) -> None:
    for launcher in ("accelerate launch --num_processes 4", "torchrun --nproc_per_node=4"):
        launch = spec_of(folder, SCRIPT.replace("accelerate launch", launcher)).launch
        assert (launch.strategy, launch.num_processes) == ("ddp", 4)


def test_image_to_video_uses_the_first_frame_without_images(folder: Path) -> None:
    script = (
        SCRIPT.replace("CogVideoX-5b", "CogVideoX-5b-I2V")
        .replace('"t2v"', '"i2v"')
        .replace("x-t2v", "x-i2v")
    )
    assert spec_of(folder, script).data.image_column is None
    assert spec_of(folder, script).training.image_noise is not None
    assert checked(folder, script).problems == ()


def test_a_script_of_cogkit_has_its_datasets_layout(folder: Path) -> None:
    script = SCRIPT.replace('    --caption_column "prompts.txt"\n', "").replace(
        '    --video_column "videos.txt"\n', ""
    )
    data = spec_of(folder, script.replace("--pin_memory True", "--pin_memory false")).data
    assert (data.root, data.metadata) == ("clips/train", "metadata.jsonl")
    assert (data.caption_column, data.video_column) == ("prompt", "file_name")
    # Its parser does understand `false`.
    assert data.pin_memory is False


def test_the_settings_of_a_cogkit_config_are_in_the_spec(folder: Path) -> None:
    spec = spec_of(folder, CONFIG, "config.yaml")
    assert (spec.name, spec.model.type, spec.training.type) == ("my-t2v", "t2v", "sft")
    assert (spec.data.root, spec.data.metadata) == ("clips/train", "metadata.jsonl")
    assert str(spec.data.resolution) == "49x480x720"
    assert (spec.training.seed, spec.training.epochs) == (7, 3)
    assert spec.training.gradient_accumulation_steps == 4
    assert spec.data.pin_memory is False
    assert spec.launch.strategy == "fsdp"
    assert spec.lora is None
    # Constants of CogKit's trainer.
    assert (spec.lr_scheduler.name, spec.lr_scheduler.warmup_steps) == ("cosine", 0)
    assert (spec.optimizer.name, spec.optimizer.betas) == ("adamw", (0.9, 0.95))
    assert spec.tracking.report_to == ()


def test_settings_that_cogkit_ignores_or_only_it_has_are_noted(folder: Path) -> None:
    told = notes(folder, CONFIG + "rank: 32\nlr_scheduler: cosine\n", "config.yaml")
    for name in ("offload_params_grads", "do_validation", "rank", "lr_scheduler", "strategy"):
        assert f"{name}" in told


def test_a_config_of_another_model_is_one_sentence(folder: Path) -> None:
    with pytest.raises(UserError, match="cogview4-6b: not a CogVideoX model"):
        converted(folder, CONFIG.replace("cogvideox-t2v", "cogview4-6b"), "config.yaml")
    with pytest.raises(UserError, match="not a CogKit config"):
        converted(folder, "a: 1\n", "config.yaml")


def test_a_config_that_is_not_yaml_has_a_place(folder: Path) -> None:
    with pytest.raises(ProblemsFound) as error:
        converted(folder, CONFIG + "a: [\n", "config.yaml")
    found: tuple[Problem, ...] = error.value.problems
    assert found[0].place.line > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo hello\n", "no launch of train.py with a --model_path"),
        ("python train.py --pretrained_model_name_or_path x\n", "no launch of train.py"),
        ("python train.py --model_path 'x\n", "a quote is not closed"),
        ("python train.py --model_path x --training_type kd\n", "--training_type kd"),
    ],
)
def test_a_script_of_something_else_is_one_sentence(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        converted(folder, text)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\x00" * 10, b"a" * (1 << 21)])
def test_a_file_that_is_not_text_is_one_sentence(folder: Path, content: bytes) -> None:
    path = folder / "train.sh"
    path.write_bytes(content)
    with pytest.raises(UserError):
        convert_file(path)


def test_a_strange_value_cannot_break_out_of_a_comment(folder: Path) -> None:
    script = with_argument("--resume_from_checkpoint 'x\u2028name: taken\x85name: too'")
    assert spec_of(folder, script).name == "train_ddp_t2v"


def test_init_from_writes_the_spec_and_the_notes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = folder / "train.sh"
    script.write_text(with_argument("--resume_from_checkpoint /ckpt"))
    spec = folder / "spec.yaml"
    with pytest.raises(SystemExit) as end:
        main(["init", "--from", str(script), str(spec)])
    assert not end.value.code
    shown: Any = capsys.readouterr()
    assert "note: --resume_from_checkpoint /ckpt:" in shown.err
    assert "cvbundle check" in shown.out
    assert spec.read_text() == convert_file(script).text
