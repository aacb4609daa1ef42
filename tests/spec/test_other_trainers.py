"""Settings of other trainers lead to the fields of a spec."""

import pytest

from cvbundle.problems import Problem
from cvbundle.spec.elsewhere import field_called
from cvbundle.spec.fields import all_fields
from tests.rules.specs import check_text, text_of

PARTS = [name for field in all_fields() for name in field.about.parts]
OTHERS = [name for field in all_fields() for name in field.about.elsewhere] + PARTS


def found(text: str) -> Problem:
    (problem,) = check_text(text_of({}) + text + "\n").problems
    return problem


def test_a_name_in_other_trainers_means_one_field_and_is_not_one_of_ours() -> None:
    assert len(OTHERS) > 80
    assert len(OTHERS) == len(set(OTHERS))
    assert not {field.path[-1] for field in all_fields()} & set(OTHERS)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pretrained_model_name_or_path: x/y", "here it is model.path"),
        ("lr: 1e-4", "here it is training.learning_rate"),
        ("train_resolution: 49x480x720", "here it is data.resolution"),
        ("checkpointing_steps: 10", "here it is checkpointing.steps"),
        ("num_frames: 49", "here it is part of data.resolution: 49x480x720"),
        ("adam_beta1: 0.9", "here it is part of optimizer.betas: [0.9, 0.95]"),
        ("rank: 64", "rank belongs to lora"),
        ("gradient_checkpointing: true", "gradient_checkpointing belongs to training"),
        ("version: 1", "cvbundle is set too: remove this one"),
        ("optimizer: {eps: 1e-8}", "write epsilon"),
        ("optimizer: {lr: 1e-4}", "here it is training.learning_rate"),
        ("lora: {lora_dropout: 0.1}", "write dropout"),
        ("lora: {weight_decay: 0.1}", "weight_decay belongs to optimizer"),
        ("lora: {lr_scheduler: cosine}", "lr_scheduler belongs to the top of the spec"),
        ("launch: {num_gpus: 8}", "write num_processes"),
        # A word that is only a little like one of ours, and a section for a single value.
        ("allow_tf32: true", "the fields are cvbundle, name"),
        ("validations: 5", "the fields are cvbundle, name"),
        ("validations: {steps: 200}", "write validation"),
    ],
)
def test_a_key_of_another_trainer_leads_to_our_field(text: str, hint: str) -> None:
    problem = found(text)
    assert problem.rule == "key-unknown"
    assert problem.hint.startswith(hint)


def test_a_part_of_a_field_never_replaces_the_field() -> None:
    """`height: 480` as `resolution: 480` would be nonsense."""
    for name in PARTS:
        field = field_called(name) or ""
        section = field.rpartition(".")[0]
        text = f"{section}: {{{name}: 480}}" if section in ("optimizer",) else f"{name}: 480"
        assert found(text).replacement is None


def test_a_config_of_another_trainer_leads_to_init_from() -> None:
    text = "model_path: x/y\ndata_root: data\ntrain_epochs: 10\n"
    first = check_text(text).problems[0]
    assert first.path == ("cvbundle",)
    assert "cvbundle init --from FILE" in first.hint


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("optimizer: AdamW", "{name: adamw}"),
        ("lr_scheduler: cosine_with_restarts", "{name: cosine_with_restarts}"),
        ("launch: zero2", "{strategy: zero2}"),
        ("output: runs", "{dir: runs}"),
        ('lora: {target_modules: "to_q, to_k to_v"}', "[to_q, to_k, to_v]"),
    ],
)
def test_a_single_value_becomes_the_section_or_list(text: str, written: str) -> None:
    problem = found(text)
    assert (problem.rule, problem.replacement) == ("value-type", written)
    fixed_by = text.replace(problem.place.text[problem.place.column - 1 :].rstrip("}"), written)
    assert check_text(text_of({}) + fixed_by + "\n").problems == ()


@pytest.mark.parametrize(
    "written",
    [
        "CogVideoX-2b",
        "https://huggingface.co/THUDM/CogVideoX-2b",
        "THUDM/CogVideoX-2B-T2V",
        "thudm/CogVideo-2b",
    ],
)
def test_a_misspelt_model_gets_its_hub_id(written: str) -> None:
    (problem,) = check_text(text_of({"model.path": written})).problems
    assert problem.replacement == "THUDM/CogVideoX-2b"


@pytest.mark.parametrize("written", ["./CogVideoX-2b", "me/CogVideoX-2b", "Wan-AI/Wan2.1-T2V-14B"])
def test_a_users_own_model_is_not_taken_for_a_known_one(written: str) -> None:
    (problem,) = check_text(text_of({"model.path": written})).problems
    assert problem.path == ("model", "path")
    assert problem.replacement is None


@pytest.mark.parametrize("written", ["49 x 480 x 720", "49X480X720", "49*480*720", "49,480,720"])
def test_a_resolution_in_another_notation_is_rewritten(written: str) -> None:
    (problem,) = check_text(text_of({"data.resolution": written})).problems
    assert problem.replacement == "49x480x720"


def test_an_empty_section_gets_its_required_fields() -> None:
    problems = check_text("cvbundle: 1\nname: x\nmodel:\ndata:\ntraining: {steps: 1000}\n").problems
    assert [problem.hint for problem in problems] == [
        "write {path: THUDM/CogVideoX-2b}",
        "write {root: data}",
    ]


def test_no_tracker_is_an_empty_list() -> None:
    assert found("tracking: {report_to: none}").replacement == "[]"


def test_an_invalid_name_becomes_a_slug() -> None:
    (problem,) = check_text(text_of({"name": "My LoRA, v2!"})).problems
    assert problem.replacement == "my-lora-v2"


def test_a_missing_section_is_written_out() -> None:
    hints = [problem.hint for problem in check_text("cvbundle: 1\nname: x\n").problems]
    assert hints[0].startswith("write model: {path: THUDM/CogVideoX-2b}")
    assert hints[1].startswith("write data: {root: data}")


@pytest.mark.parametrize("written", ["480x720x49", "720x480x49"])
def test_frames_written_last_are_moved_first(written: str) -> None:
    problems = check_text(text_of({"data.resolution": written})).problems
    assert {problem.replacement for problem in problems} == {"49x480x720"}


def test_one_value_fixes_frames_and_size_together() -> None:
    changes = {"model.path": "THUDM/CogVideoX-5b-I2V", "data.resolution": "81x720x1280"}
    problems = check_text(text_of(changes)).problems
    assert [problem.replacement for problem in problems] == ["49x480x720"] * 2


def test_a_single_image_becomes_a_list() -> None:
    changes = {
        "model.path": "THUDM/CogVideoX-5b-I2V",
        "validation.steps": 200,
        "validation.prompts": ["A cat."],
        "validation.images": "gone.png",
    }
    (problem,) = check_text(text_of(changes)).problems
    assert problem.replacement == "[gone.png]"


def test_a_single_prompt_becomes_a_list() -> None:
    problem = found("validation: {steps: 200, prompts: A cat walks.}")
    assert problem.replacement == '["A cat walks."]'


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("data: {caption_column: *.txt}", "quote a text"),
        ("output: {dir: @home}", "quote a text"),
        ("output:\n\tdir: runs", "indent with spaces"),
        ("output:\n  dir: runs\n   b: c", "indent it like"),
        ("validation:\n  steps: 200\n  prompts:\n  - A cat: it walks.", "quotes"),
        ('data: {root: "C:\\data"}', "double the backslash"),
        ('data: {root: "data}', "close the quote of line 2"),
        ("data: {root: data\nname: x", "close the bracket of line 2"),
        ("lora: {target_modules: [to_q, to_k}", "close the bracket of line 2"),
    ],
)
def test_a_syntax_error_has_a_hint(text: str, hint: str) -> None:
    problems = check_text(f"cvbundle: 1\n{text}\n").problems
    assert [problem for problem in problems if hint in problem.hint]


@pytest.mark.parametrize(
    ("written", "plain"), [("10_000", "10000"), ("010", "10"), ("1_0.5", "10.5")]
)
def test_an_ambiguous_number_gets_plain_digits(written: str, plain: str) -> None:
    problem = found(f"allow: [{written}]")
    assert problem.rule == "yaml-ambiguous"
    assert problem.hint.startswith(f"write {plain}, or ")
