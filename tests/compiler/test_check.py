"""Every mistake is reported at once, in file order and at its place; a valid spec has none."""

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.cli import main
from cvbundle.compiler.check import Checked, check_file
from cvbundle.compiler.scanning import Scanning
from cvbundle.problems import Severity
from cvbundle.rules import optimizer
from cvbundle.spec.tables.models import MODELS
from tests.dataset.clips import make_clip
from tests.model.folders import write_configs
from tests.rules.specs import check_text, text_of

TEN_MISTAKES = """\
cvbundle: 1
name: ten-mistakes
model:
  path: THUDM/CogVideoX-5b
data:
  resolution: 48x480x720        # 5 and 6: no root, wrong frames
training:
  steps: 1000
  epochs: 10                    # 9: both
  mixed_precision: fp16         # 10: a model trained in bf16
  learning_rte: 1e-4            # 11: a typo
lora:
  rank: 64
  rank: 128                     # 14: twice
  target_modules: [to_q, to_query]
optimizer:
  name: adamx
  betas: [0.9, "0.95"]
checkpointing:
  steps: 200
validation:
  steps: 300
  prompts: [A cat walks.]
"""


def test_ten_mistakes_of_ten_kinds_are_ten_problems_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(TEN_MISTAKES)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(spec), "--format", "json"])
    assert ended.value.code == 1
    reported = json.loads(capsys.readouterr().out)
    assert [(p["line"], p["column"], p["rule"]) for p in reported] == [
        (5, 1, "value-missing"),
        (6, 15, "frames-vae"),
        (9, 11, "steps-or-epochs"),
        (10, 20, "precision-fp16"),
        (11, 3, "key-unknown"),
        (14, 3, "key-duplicate"),
        (15, 26, "lora-target-missing"),
        (17, 9, "value-choice"),
        (18, 16, "value-type"),
        (22, 10, "validation-interval"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


HEAD = "cvbundle: 1\nname: x\nmodel: {path: THUDM/CogVideoX-2b}\ndata: {root: data}\n"
I2V = HEAD.replace("-2b", "-5b-I2V")
NEW = HEAD.replace("CogVideoX-2b", "CogVideoX1.5-5B")
RUN = "training: {steps: 1000}\n"


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        (HEAD, "steps-or-epochs", 1),
        (HEAD + "training:\n  type: lora\n", "steps-or-epochs", 5),
        (HEAD + "training:\n  epochs: 1\n  steps: 1\n", "steps-or-epochs", 7),
        (HEAD + "training:\n  steps: 50\n", "warmup-exceeds-steps", 6),
        (HEAD + RUN + "lr_scheduler:\n  warmup_steps: 2000\n", "warmup-exceeds-steps", 7),
        (HEAD + "training:\n  steps: 150\n", "checkpoint-never", 6),
        (HEAD + RUN + "checkpointing:\n  steps: 2000\n", "checkpoint-never", 7),
        (HEAD + "training:\n  type: sft\n  steps: 1000\nlora:\n  rank: 4\n", "lora-with-sft", 8),
        (HEAD + RUN + "validation:\n  prompts: [a]\n  steps: 300\n", "validation-interval", 8),
        (HEAD + RUN + "validation:\n  prompts: [a]\n", "value-missing", 6),
        (I2V + RUN + "validation:\n  steps: 200\n  prompts: [a]\n", "validation-images", 6),
        (
            I2V + RUN + "validation:\n  steps: 200\n  prompts: [a]\n  images: [a.png, b.png]\n",
            "validation-images",
            9,
        ),
        (HEAD.replace("data}", "data, image_column: i}") + RUN, "image-column-with-t2v", 4),
        (HEAD + "training:\n  steps: 1000\n  image_dropout: 0.1\n", "image-column-with-t2v", 7),
        (I2V.replace("data}", "data, resolution: 49x480x704}") + RUN, "resolution-fixed", 4),
        (I2V.replace("data}", "data, resolution: 41x480x720}") + RUN, "frames-fixed", 4),
        (NEW.replace("data}", "data, resolution: 81x1360x768}") + RUN, "resolution-grid", 4),
        (NEW.replace("data}", "data, resolution: 81x768x1024}") + RUN, "resolution-untrained", 4),
        (HEAD.replace("path", "type: i2v, path") + RUN, "task-matches-model", 3),
        (HEAD.replace("path", "name: cogvideox-5b, path") + RUN, "model-name", 3),
        (HEAD.replace("THUDM/CogVideoX-2b", "./gone") + RUN, "value-range", 3),
        (
            HEAD + RUN + "lora:\n  target_modules:\n    - to_q\n    - to_out\n",
            "lora-target-missing",
            9,
        ),
        (
            HEAD + RUN + "lora:\n  target_modules:\n    - to_q\n    - to_q\n",
            "value-range",
            9,
        ),
        (HEAD + RUN + "tracking: {report_to: [wandb, wandb]}\n", "value-range", 6),
        (
            HEAD + RUN + "lora:\n  target_modules:\n    - to_q\n    - linear\n",
            "lora-target-broad",
            9,
        ),
        (HEAD + RUN + "launch:\n  num_processes: 2\n", "strategy-single", 7),
        (
            HEAD + RUN + "launch: {strategy: ddp, num_processes: 3, num_machines: 2}\n",
            "batch-not-divisible",
            6,
        ),
        (HEAD + RUN + "launch:\n  num_machines: 2\n", "batch-not-divisible", 7),
        (HEAD + RUN + "launch: {gpu_memory_gib: 8}\n", "memory", 6),
        (HEAD + RUN + "optimizer:\n  name: prodigy\n", "optimizer-missing", 7),
        (HEAD + RUN + "optimizer:\n  beta3: 0.98\n", "optimizer-unused", 7),
        (HEAD + RUN + "optimizer: {name: adam,\n  beta3: 0.98}\n", "optimizer-unused", 7),
        (HEAD + RUN + "lr_scheduler:\n  power: 2\n", "schedule-unused", 7),
        (
            HEAD + RUN + "lr_scheduler:\n  name: constant\n  warmup_steps: 50\n",
            "schedule-unused",
            8,
        ),
        (
            HEAD + "training:\n  steps: 1000\n  image_noise: {mean: -2, std: 0.5}\n",
            "image-column-with-t2v",
            7,
        ),
        (
            HEAD + "training: {learning_rate: 1e-8,\n  steps: 1000}\n"
            "lr_scheduler: {name: polynomial}\n",
            "polynomial-end",
            5,
        ),
    ],
)
def test_a_mistake_is_reported_at_its_line(
    text: str, rule: str, line: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "is_installed", lambda package: False)
    reported = check_text(text).problems
    assert (rule, line) in [(problem.rule, problem.place.line) for problem in reported]
    assert [problem.rule for problem in reported if problem.severity is not Severity.WARNING] in (
        [rule],
        [],
    )


@pytest.mark.parametrize(
    "text",
    [
        HEAD + RUN,
        (HEAD + RUN).replace("\n", "\r\n"),
        "\ufeff" + HEAD + RUN,
        "%YAML 1.2\n---\n" + HEAD + RUN + "...\n",
        HEAD.lower() + RUN,
        HEAD.replace("THUDM", "zai-org") + RUN,
        HEAD.replace("name: x", "name: 'x'") + "training: {epochs: 10, steps: null}\n",
        HEAD.replace("path", "revision: null, name: null, path") + RUN,
        HEAD.replace("path", "name: custom, path") + RUN,
        HEAD.replace("THUDM/CogVideoX-2b", "me/mine, name: cogvideox-2b") + RUN,
        HEAD + "training: {steps: 1000, type: sft}\n",
        HEAD + "training: {steps: 1000, mixed_precision: no, learning_rate: 1e-5}\n",
        HEAD + "training: {steps: 30}\nlr_scheduler: {name: constant, warmup_steps: 0}\n"
        "checkpointing: {steps: 10}\n",
        HEAD + "training: {steps: 30}\nlr_scheduler: {name: constant, warmup_steps: 100}\n"
        "checkpointing: {steps: 10}\n",
        HEAD + RUN + "lr_scheduler: {name: linear, num_cycles: 1, power: 1}\n"
        "optimizer: {name: adam, beta3: null, epsilon: 1e-15}\n",
        HEAD + "training: {steps: 1000, image_noise: null, image_dropout: 0}\n",
        HEAD + "training: {steps: 1000, image_noise: {mean: -3, std: 0.5}}\n",
        HEAD
        + "training:\n  steps: 50\nlr_scheduler: {warmup_steps: 0}\ncheckpointing: {steps: 50}\n",
        HEAD.replace("data}", "data, resolution: [49, 480, 720]}") + RUN,
        HEAD.replace("data}", "data, resolution: 45x480x720}")
        + RUN
        + "allow: [frames-8n-plus-1]\n",
        HEAD.replace("data}", "data, resolution: 1x480x720}") + RUN,
        HEAD.replace("-2b", "-5b").replace("data}", "data, resolution: 49x256x384}")
        + RUN
        + "allow: [resolution-5b]\n",
        HEAD.replace("-2b", "-5b")
        + "training: {steps: 1000, mixed_precision: fp16}\nallow: [precision-fp16]\n",
        I2V
        + RUN
        + "validation: {steps: 200, prompts: [a cat, a dog], images: [cat.png, dog.png]}\n",
        I2V.replace("data}", "data, image_column: images.txt}") + RUN,
        NEW + RUN,
        NEW.replace("data}", "data, resolution: 85x768x1360}")
        + RUN
        + "allow: [frames-8n-plus-1]\n",
        NEW.replace("5B", "5B-I2V").replace("data}", "data, resolution: 81x768x1024}") + RUN,
        NEW.replace("5B", "5B-I2V, revision: e724b279e89c204de20b66d8c09317a5d0d1b6f6").replace(
            "data}", "data, resolution: 81x1360x768}"
        )
        + RUN,
        HEAD.replace("-2b", "-5b") + RUN + "launch: {gpu_memory_gib: 24}\n",
        HEAD + RUN + "launch: {strategy: zero2-offload}\n",
        HEAD + RUN + "launch: {strategy: ddp, num_processes: 4, num_machines: 2}\n",
        HEAD
        + RUN
        + "lora: {target_modules: [attn1.to_q, transformer_blocks.0.ff.net.2, proj_out]}\n",
        HEAD + RUN + 'tracking: {report_to: []}\noutput: {dir: "~/runs"}\n',
    ],
)
def test_a_valid_spec_has_no_problems(text: str) -> None:
    assert check_text(text).problems == ()


def test_the_part_before_a_syntax_error_is_checked() -> None:
    text = (
        HEAD.replace("data}", "data, resolution: 48x480x720}") + "training: {steps: 1000\nlora: }\n"
    )
    assert [p.rule for p in check_text(text).problems] == ["frames-vae", "yaml-syntax"]


def test_fields_that_may_follow_a_syntax_error_are_not_reported_missing() -> None:
    assert [p.rule for p in check_text("cvbundle: 1\nname: ]\n").problems] == ["yaml-syntax"]


def test_a_section_that_ended_before_a_syntax_error_is_checked_with_its_defaults() -> None:
    text = HEAD + "training: {epochs: null}\nlora: {rank: 4}\noptimizer: ]\n"
    assert [p.rule for p in check_text(text).problems] == ["steps-or-epochs", "yaml-syntax"]


def test_a_section_that_a_wrong_indentation_ends_may_have_more_fields() -> None:
    text = HEAD + "training:\n  type: lora\n steps: 1000\n"
    assert [p.rule for p in check_text(text).problems] == ["yaml-syntax"]


def test_a_missing_path_with_a_name_is_still_checked() -> None:
    text = HEAD.replace("path: THUDM/CogVideoX-2b", "name: cogvideox-5b") + (
        "training: {steps: 1000, mixed_precision: fp16}\n"
    )
    assert [p.rule for p in check_text(text).problems] == ["value-missing", "precision-fp16"]


def test_a_wrong_field_skips_only_the_rules_that_need_it() -> None:
    text = text_of({"data.resolution": "48x480x720", "training.steps": "x", "lora.rank": 0})
    assert [p.rule for p in check_text(text).problems] == [
        "frames-vae",
        "value-type",
        "value-range",
    ]


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("to_out", "to_out.0"),
        ("to_query", "to_q"),
        ("ff.net.0.project", "ff.net.0.proj"),
        ("attn1.to_key", "to_k"),
        ("norm1", "norm1.linear"),
        ("all-linear", "list the modules: norm1.linear to_q"),
        ("zzz", "write the end of a name"),
        (".*attn1.to_[qkv]", "write "),
        ("q_proj", "to_q"),
        ("o_proj", "to_out.0"),
    ],
)
def test_a_wrong_target_gets_the_nearest_name(target: str, hint: str) -> None:
    (problem,) = check_text(text_of({"lora.target_modules": [target]})).problems
    assert hint in problem.hint


def test_only_waivable_problems_can_be_allowed_and_their_hints_say_how() -> None:
    (problem,) = check_text(text_of({"data.resolution": "45x480x720"})).problems
    assert problem.hint.endswith("or allow: [frames-8n-plus-1]")
    reported = check_text(text_of({"data.resolution": "46x480x720", "allow": ["frames-vae"]}))
    assert reported.blocked


def test_the_memory_rule_names_settings_that_fit() -> None:
    changes: dict[str, object] = {
        "model.path": "THUDM/CogVideoX-5b",
        "training.gradient_checkpointing": False,
        "launch.gpu_memory_gib": 24,
    }
    (problem,) = check_text(text_of(changes)).problems
    assert "training.gradient_checkpointing: true" in problem.hint
    changes["training.gradient_checkpointing"] = True
    assert check_text(text_of(changes)).problems == ()


def test_an_installed_package_is_found_without_importing_it() -> None:
    assert optimizer.is_installed("torch")
    assert not optimizer.is_installed("no-such-package-anywhere")


def test_a_tiny_model_is_judged_by_its_own_config(tmp_path: Path) -> None:
    """The model of `cvbundle demo`: small sizes, real architectures."""
    from attrs import evolve

    for name in ("cogvideox-5b", "cogvideox-5b-i2v", "cogvideox1.5-5b", "cogvideox1.5-5b-i2v"):
        model = MODELS.get(name)
        assert model is not None
        transformer = evolve(
            model.architecture.transformer,
            num_layers=2,
            num_attention_heads=2,
            sample_height=4,
            sample_width=6,
            sample_frames=9,
        )
        write_configs(tmp_path / name, evolve(model.architecture, transformer=transformer))
        changes: dict[str, object] = {"model.path": name, "data.resolution": "9x32x48"}
        assert check_text(text_of(changes), tmp_path).problems == ()
        changes["data.resolution"] = "9x480x720"
        assert check_text(text_of(changes), tmp_path).problems[0].rule.startswith("resolution-")


def in_file(tmp_path: Path, text: str, *settings: str) -> Checked:
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)
    return check_file(spec, settings)


def test_a_problem_with_data_root_is_in_file_order(tmp_path: Path) -> None:
    text = HEAD + "training: {step: 5}\n"
    rules = [p.rule for p in in_file(tmp_path, text).problems]
    assert rules[0] == "value-range"
    assert len(rules) == 3


def test_a_setting_is_checked_like_the_spec(tmp_path: Path) -> None:
    reported = in_file(tmp_path, HEAD + RUN, "data.resolution=48x480x720").problems
    assert ("frames-vae", "--set") in [(p.rule, p.place.file) for p in reported]


@pytest.mark.parametrize(
    ("setting", "rule", "column"),
    [
        ("validation.steps=200", "value-missing", 1),
        ("foo.bar=1", "key-unknown", 1),
        ("lora.rnk=4", "key-unknown", 1),
        ("lora={rnk: 4}", "key-unknown", 7),
        ("training.epochs=3", "steps-or-epochs", 17),
        ("lr_scheduler={warmup_steps: 2000}", "warmup-exceeds-steps", 29),
        ("lora.target_modules=[to_q, to_out]", "lora-target-missing", 28),
        ("validation={steps: 300, prompts: [a]}", "validation-interval", 20),
        ("allow=[clip-fps, frames-vae]", "value-choice", 18),
        ("data.root=nowhere", "value-range", 11),
        ("launch.num_processes=2", "strategy-single", 22),
        ("sweep={lora.rank: [0, 4]}", "value-range", 20),
        ("optimizer={beta3: 0.9}", "optimizer-unused", 19),
    ],
)
def test_a_rule_broken_by_a_setting_is_reported_at_the_setting(
    eight_clips: Path, setting: str, rule: str, column: int
) -> None:
    (reported,) = in_file(eight_clips, HEAD + RUN, setting).problems
    assert (reported.place.file, reported.place.text) == ("--set", setting)
    assert (reported.rule, reported.place.column) == (rule, column)


@pytest.mark.parametrize("root", ["~nobody-here/x", "a\\0b", "x" * 5000, "/dev/zero"])
def test_a_root_that_is_not_a_folder_is_a_problem(tmp_path: Path, root: str) -> None:
    reported = in_file(tmp_path, HEAD.replace("root: data", f'root: "{root}"') + RUN).problems
    assert [(p.rule, p.path) for p in reported] == [("value-range", ("data", "root"))]


@pytest.mark.parametrize("name", ["/dev/zero", '"a\\0b"'])
@pytest.mark.parametrize("field", ["caption_column", "video_column", "image_column"])
def test_a_device_or_pipe_is_not_read_as_a_list(tmp_path: Path, field: str, name: str) -> None:
    (tmp_path / "data").mkdir()
    for list_name in ("videos.txt", "prompts.txt"):
        (tmp_path / "data" / list_name).write_text("")
    text = I2V.replace("data}", f"data, {field}: {name}}}") + RUN
    reported = in_file(tmp_path, text).problems
    assert [(p.rule, p.path) for p in reported] == [("value-range", ("data", field))]


def pipe(path: Path) -> Path:
    """Opening a pipe without a writer blocks forever."""
    os.mkfifo(path)
    return path


def test_a_missing_spec_is_one_problem(tmp_path: Path) -> None:
    (problem,) = check_file(tmp_path / "gone.yaml").problems
    assert (problem.rule, problem.place.file) == ("spec-unreadable", str(tmp_path / "gone.yaml"))
    assert problem.hint == "give the path of a spec file"


def test_json_output_is_always_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path, pipe(tmp_path / "pipe")):
        with pytest.raises(SystemExit) as ended:
            main(["check", str(path), "--format", "json"])
        assert ended.value.code == 1
        (problem,) = json.loads(capsys.readouterr().out)
        assert (problem["file"], problem["rule"]) == (str(path), "spec-unreadable")


def test_a_spec_must_be_a_file(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    odd = [tmp_path, Path("/dev/zero"), pipe(tmp_path / "pipe"), tmp_path / "socket", Path("a\0b")]
    with listening:
        for path in odd:
            assert [p.rule for p in check_file(path).problems] == ["spec-unreadable"], path


def test_an_endless_spec_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    (problem, *_) = check_file(path).problems
    assert problem.rule == "yaml-unsafe"


def test_a_spec_can_come_from_a_pipe(tmp_path: Path) -> None:
    """Standard input by any of its names, and `<(command)`; paths are from the current folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.mp4").write_bytes(b"")
    (tmp_path / "data/videos.txt").write_text("a.mp4\n")
    (tmp_path / "data/prompts.txt").write_text("A cat.\n")
    check = f"{sys.executable} -m cvbundle.cli check"
    text = shlex.quote(HEAD + RUN)
    for command in (
        f"printf %s {text} | {check} -",
        f"printf %s {text} | {check} /dev/stdin",
        f"{check} <(printf %s {text})",
    ):
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout.endswith(": no problems\n")


@pytest.mark.parametrize("field", ["caption_column", "video_column", "image_column", "metadata"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "gone"])
def test_each_list_that_is_not_a_file_is_reported_at_its_field(
    tmp_path: Path, field: str, kind: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pipe(data / "pipe")
    (data / "folder").mkdir()
    text = I2V.replace("data}", f"data, {field}: {kind}}}") + RUN
    if field != "metadata":
        for name in {"videos.txt", "prompts.txt"}:
            (data / name).write_text("")
    reported = in_file(tmp_path, text).problems
    assert [(p.rule, p.path) for p in reported] == [("value-range", ("data", field))]
    assert reported[0].message.startswith(f"{kind} ")


def test_both_missing_lists_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    messages = [problem.message for problem in in_file(tmp_path, HEAD + RUN).problems]
    assert messages == ["prompts.txt doesn't exist", "videos.txt doesn't exist"]


def test_a_clip_that_is_a_pipe_is_not_opened(eight_clips: Path) -> None:
    (eight_clips / "data/3.mp4").unlink()
    pipe(eight_clips / "data/3.mp4")
    spec = eight_clips / "spec.yaml"
    spec.write_text(HEAD + RUN)
    for scanning in (None, Scanning()):
        reported = check_file(spec, scanning=scanning).problems
        missing = [problem for problem in reported if problem.rule == "clip-missing"]
        assert [(p.place.line, p.message) for p in missing] == [(4, "3.mp4 is not a file")]


def test_a_model_whose_config_is_a_pipe_is_reported(tmp_path: Path) -> None:
    model = MODELS.get("cogvideox-2b")
    assert model is not None
    write_configs(tmp_path / "model", model.architecture)
    config = tmp_path / "model/transformer/config.json"
    config.unlink()
    pipe(config)
    (reported,) = check_text(text_of({"model.path": "model"}), tmp_path).problems
    assert (reported.path, reported.message) == (
        ("model", "path"),
        f"{config}: is not a config file",
    )


def test_prompts_and_images_that_are_pipes_are_reported(tmp_path: Path) -> None:
    pipe(tmp_path / "pipe")
    text = I2V + RUN + "validation: {steps: 200, prompts: pipe, images: pipe}\n"
    reported = check_text(text, tmp_path).problems
    assert [(p.path, p.message) for p in reported] == [
        (("validation", "prompts"), "pipe is not a text file"),
        (("validation", "images"), "pipe is not a text file"),
    ]


@pytest.mark.parametrize("name", ["/data/list.txt", "../list.txt", "a/../../list.txt"])
def test_a_list_outside_the_dataset_is_refused(name: str) -> None:
    """Its path would differ between machines, and so would the bundle."""
    for field in ("caption_column", "metadata"):
        (reported,) = check_text(text_of({f"data.{field}": name})).problems
        assert (reported.rule, reported.path) == ("value-range", ("data", field))


I2V_RUN = I2V + RUN + "validation:\n  steps: 200\n  prompts: [a cat, a dog]\n"


def test_all_missing_validation_images_are_reported_at_their_places(tmp_path: Path) -> None:
    pipe(tmp_path / "pipe.png")
    text = I2V_RUN + "  images: [gone.png, pipe.png]\n"
    reported = check_text(text, tmp_path).problems
    assert [(p.place.column, p.message) for p in reported] == [
        (12, "gone.png doesn't exist"),
        (22, "pipe.png is a device or a pipe"),
    ]


def test_listed_images_are_relative_to_the_specs_folder(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("cat.png\ndog.png\n")
    (tmp_path / "cat.png").write_bytes(b"")
    (reported,) = check_text(I2V_RUN + "  images: images.txt\n", tmp_path).problems
    assert (reported.place.line, reported.message) == (9, "dog.png doesn't exist")


def test_an_undecodable_image_is_reported_when_clips_are_opened(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(I2V_RUN + "  images: [cat.png, dog.png]\n")
    for name in ("cat.png", "dog.png"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.mp4").write_bytes(make_clip(49))
    (tmp_path / "data/videos.txt").write_text("a.mp4\n")
    (tmp_path / "data/prompts.txt").write_text("A cat.\n")
    assert check_file(spec).problems == ()
    reported = check_file(spec, scanning=Scanning()).problems
    assert [p.message for p in reported if p.rule == "value-range"] == [
        f"{name} is not an image (PNG, JPEG, WEBP, BMP, TIFF)" for name in ("cat.png", "dog.png")
    ]


EPOCHS = HEAD + "training:\n  epochs: 5\n  batch_size: 2\n"


@pytest.fixture
def eight_clips(tmp_path: Path) -> Path:
    """A folder with a dataset of eight clips, which are never opened."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(8):
        (data / f"{number}.mp4").write_bytes(b"")
    (data / "videos.txt").write_text("".join(f"{number}.mp4\n" for number in range(8)))
    (data / "prompts.txt").write_text("".join(f"Cat {number}.\n" for number in range(8)))
    return tmp_path


def test_the_length_of_a_run_by_epochs_depends_on_its_dataset(eight_clips: Path) -> None:
    reported = in_file(eight_clips, EPOCHS).problems
    assert [(p.rule, p.place.line, p.message) for p in reported] == [
        (
            "warmup-exceeds-steps",
            6,
            "100 steps of warmup in a run of 20 (5 epochs of 8 samples)",
        ),
        (
            "checkpoint-never",
            6,
            "a checkpoint every 200 steps in a run of 20 (5 epochs of 8 samples)",
        ),
    ]
    assert reported[0].hint == "write lr_scheduler.warmup_steps: 2"


@pytest.mark.parametrize(
    "rest",
    [
        "lr_scheduler: {warmup_steps: 20}\ncheckpointing: {steps: 20}\n",
        "lr_scheduler: {name: constant}\ncheckpointing: {steps: 4}\n"
        "validation: {steps: 20, prompts: [A cat.]}\n",
        "lr_scheduler: {name: polynomial, warmup_steps: 19}\nallow: [checkpoint-never]\n",
    ],
)
def test_enough_epochs_are_not_a_problem(eight_clips: Path, rest: str) -> None:
    assert in_file(eight_clips, EPOCHS + rest).problems == ()


def test_a_polynomial_needs_a_step_after_its_warmup(eight_clips: Path) -> None:
    """The schedule divides by the number of those steps."""
    text = "lr_scheduler: {name: polynomial, warmup_steps: 20}\ncheckpointing: {steps: 20}\n"
    (reported,) = in_file(eight_clips, EPOCHS + text).problems
    assert (reported.rule, reported.place.line) == ("warmup-exceeds-steps", 8)


def test_the_length_in_epochs_is_not_checked_over_wrong_lists(eight_clips: Path) -> None:
    (eight_clips / "data/prompts.txt").write_text("A cat.\n")
    assert [p.rule for p in in_file(eight_clips, EPOCHS).problems] == ["caption-count"]


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("training", "epochs"),
        ("training", "steps"),
        ("training", "batch_size"),
        ("training", "gradient_accumulation_steps"),
        ("launch", "num_processes"),
    ],
)
def test_the_length_in_epochs_is_not_checked_with_a_stand_in(
    eight_clips: Path, section: str, field: str
) -> None:
    """All of these decide how many steps an epoch has."""
    sections = {"training": {"epochs": "5", "batch_size": "2"}, "launch": {"num_processes": "1"}}
    sections[section][field] = "wrong"
    written = (f"{name}: {{{_flow(fields)}}}\n" for name, fields in sections.items())
    reported = in_file(eight_clips, HEAD + "".join(written)).problems
    assert [(p.rule, p.path) for p in reported] == [("value-type", (section, field))]


def _flow(fields: dict[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in fields.items())


def test_each_point_of_a_sweep_has_its_own_length(eight_clips: Path) -> None:
    text = (
        HEAD + "training: {batch_size: 2}\ncheckpointing: {steps: 20}\n"
        "lr_scheduler: {warmup_steps: 20}\nsweep: {training.epochs: [5, 4]}\n"
    )
    reported = in_file(eight_clips, text).problems
    assert [p.rule for p in reported] == ["checkpoint-never", "warmup-exceeds-steps"]
    for problem in reported:
        assert problem.message.endswith("of 16 (4 epochs of 8 samples) (at training.epochs=4)")


def test_check_imports_no_training_library(tmp_path: Path) -> None:
    """Nor anything else that is slow to import."""
    (tmp_path / "spec.yaml").write_text(TEN_MISTAKES)
    script = (
        "import sys\n"
        "from cvbundle.cli import main\n"
        "try:\n"
        f"    main(['check', {str(tmp_path / 'spec.yaml')!r}])\n"
        "except SystemExit:\n"
        "    print(' '.join({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    imported = set(done.stdout.split())
    assert "cvbundle" in imported
    slow = {"numpy", "PIL", "huggingface_hub", "rich", "jinja2", "safetensors", "tqdm"}
    training = {"torch", "diffusers", "transformers", "accelerate", "peft", "av"}
    assert imported & (training | slow) == set()


def test_a_missing_column_is_reported_at_the_field_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/list.csv").write_text("video,text\na.mp4,A cat.\n")
    (tmp_path / "data/a.mp4").write_bytes(b"")
    text = HEAD.replace("data}", "data, metadata: list.csv, caption_column: words}") + RUN
    (reported,) = in_file(tmp_path, text).problems
    assert reported.path == ("data", "caption_column")
    assert reported.message.endswith("list.csv has no column words: it has video, text")
    (reported,) = in_file(tmp_path, text.replace(", caption_column: words", "")).problems
    assert reported.hint == "write the column's name in data.caption_column"
