"""Data is structured strictly, and every error is a problem with a place and a hint."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvbundle.problems import Problem
from cvbundle.spec.about import about_field, is_section
from cvbundle.spec.converter import plain, structure_config
from cvbundle.spec.resolve import with_defaults
from cvbundle.spec.schema import Spec
from cvbundle.spec.structure import structure
from cvbundle.spec.text.reader import read
from tests.rules.specs import check_text, text_of
from tests.spec.mutations import VALID, mutants


def problems(changes: dict[str, object]) -> tuple[Problem, ...]:
    return check_text(text_of(changes)).problems


def test_every_field_can_be_written_out() -> None:
    checked = check_text(json.dumps(VALID))
    assert checked.problems == ()
    assert plain(checked.spec)["launch"] == {**VALID["launch"], "gpu_memory_gib": 80.0}


def test_a_spec_survives_a_round_trip_through_plain_data() -> None:
    for changes in ({}, {"training.type": "sft"}, {"training.image_noise": None}):
        spec = check_text(text_of(changes)).spec
        assert structure_config(plain(spec)) == spec
        again = check_text(json.dumps(plain(spec), indent=2))
        assert (again.problems, again.spec) == ((), spec)


@pytest.mark.parametrize(
    ("field", "value", "rule", "replacement"),
    [
        ("training.gradient_checkpointing", "true", "value-type", "true"),
        ("training.gradient_checkpointing", "off", "value-type", "false"),
        ("training.gradient_checkpointing", "selectiv", "value-type", "selective"),
        ("training.gradient_checkpointing", 1, "value-type", None),
        ("training.gradient_checkpointing", None, "value-type", None),
        ("training.steps", "5", "value-type", "5"),
        ("training.steps", 1.7, "value-type", None),
        ("training.steps", 2.0, "value-type", "2"),
        ("training.steps", True, "value-type", None),
        ("training.steps", 0, "value-range", None),
        ("training.batch_size", None, "value-type", None),
        ("training.learning_rate", "1e-5", "value-type", "1e-5"),
        ("training.learning_rate", True, "value-type", None),
        ("training.learning_rate", 0, "value-range", None),
        ("training.learning_rate", [1e-5], "value-type", None),
        ("training.compile", "yes", "value-type", "true"),
        ("training.compile", 1, "value-type", None),
        ("training.type", "loraa", "value-choice", "lora"),
        ("training.type", "LoRA", "value-choice", "lora"),
        ("training.type", 5, "value-type", None),
        ("training.mixed_precision", "fp8", "value-choice", None),
        ("training.mixed_precision", False, "value-type", None),
        ("training.seed", -1, "value-range", None),
        ("training.image_noise", {"men": 0.5}, "key-unknown", "mean"),
        ("training.image_noise", 0.5, "value-type", None),
        ("lora.target_modules", "to_q", "value-type", "[to_q]"),
        ("lora.target_modules", [], "value-range", None),
        ("lora.target_modules", ["to_q", 5], "value-type", '"5"'),
        ("lora.dropout", 1.0, "value-range", None),
        ("optimizer.betas", [0.9, "0.95"], "value-type", "0.95"),
        ("optimizer.betas", [0.9, 1.0], "value-range", None),
        ("optimizer.betas", [0.9], "value-range", None),
        ("optimizer.betas", [0.9, 0.95, 0.99], "optimizer-betas", "[0.9, 0.95]"),
        ("optimizer.name", "AdamW", "value-choice", "adamw"),
        ("data.resolution", "49x480", "value-type", None),
        ("data.resolution", [49, 480], "value-type", None),
        ("data.resolution", [49, 480, "720"], "value-type", "720"),
        ("data.resolution", "0x480x720", "value-range", None),
        ("tracking.report_to", "wandb", "value-type", "[wandb]"),
        ("tracking.report_to", ["wandbb"], "value-choice", "wandb"),
        ("name", "My Experiment", "value-range", "my-experiment"),
        ("name", "x" * 64, "value-range", None),
        ("name", 5, "value-type", '"5"'),
        ("cvbundle", 2, "value-choice", "1"),
        ("cvbundle", "1", "value-type", "1"),
        ("model.revision", "../../secret", "value-range", None),
        ("allow", "frames-8n-plus-1", "value-type", "[frames-8n-plus-1]"),
        ("allow", ["no-such-rule"], "value-choice", None),
        ("allow", ["frames-8n"], "value-choice", "frames-8n-plus-1"),
        ("allow", ["frames-vae"], "value-choice", None),
        ("lora", [], "value-type", None),
        ("optimizer", None, "value-type", None),
        ("training.batch_sise", 2, "key-unknown", "batch_size"),
        ("lerning_rate", 2, "key-unknown", None),
        ("rank", 2, "key-unknown", None),
    ],
)
def test_a_wrong_value_is_one_problem_with_the_right_value(
    field: str, value: object, rule: str, replacement: str | None
) -> None:
    reported = problems({field: value})
    assert [problem.rule for problem in reported] == [rule]
    assert reported[0].replacement == replacement
    assert reported[0].hint


def test_each_item_out_of_its_limits_is_named_at_its_own_place() -> None:
    reported = problems({"optimizer.betas": [1.5, -1]})
    assert [problem.path for problem in reported] == [
        ("optimizer", "betas", 0),
        ("optimizer", "betas", 1),
    ]
    assert reported[0].message == "optimizer.betas[0]: must be < 1, not 1.5"
    assert reported[1].message == "optimizer.betas[1]: must be >= 0, not -1.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"training.learning_rate": 1},
        {"lora.alpha": 64},
        {"training.max_grad_norm": None},
        {"training.snr_gamma": 5},
        {"training.ema_decay": 0.999},
        {"training.image_noise": None},
        {"training.image_noise": {"mean": -3}},
        {"training.image_noise": {}},
        {"optimizer.beta3": None},
        {"checkpointing.limit": None},
        {"launch.gpu_memory_gib": None},
        {"output.dir": None},
        {"output.dir": "runs"},
        {"model.revision": None, "model.name": None},
        {"model.revision": "main"},
        {"model.revision": "refs/pr/1"},
        {"data.metadata": None, "data.image_column": None},
        {"data.resolution": [49, 480, 720]},
        {"data.caption_prefix": ""},
        {"data.num_workers": 0},
        {"training.seed": 2**64 - 1},
        {"training.epochs": 3, "training.steps": None},
        {"tracking.report_to": []},
        {"validation": None},
        {"lora": None},
        {"lora": {}},
        {"lora": None, "training.type": "sft"},
        {"allow": []},
    ],
)
def test_valid_values_are_not_refused(changes: dict[str, object]) -> None:
    assert problems(changes) == ()


def test_a_missing_field_is_reported_at_its_section() -> None:
    reported = check_text("cvbundle: 1\nname: x\nmodel:\n  type: t2v\ntraining: {steps: 1000}\n")
    assert [(p.rule, p.path, p.place.line) for p in reported.problems] == [
        ("value-missing", ("data",), 1),
        ("value-missing", ("model", "path"), 3),
    ]


def test_an_empty_spec_lacks_its_required_fields() -> None:
    reported = check_text("{}").problems
    missing = [problem.path for problem in reported if problem.rule == "value-missing"]
    assert set(missing) == {("cvbundle",), ("name",), ("model",), ("data",)}


def test_a_wrong_item_hides_no_other_item() -> None:
    reported = problems({"lora.target_modules": ["to_query", 5, "to_k", "nope"]})
    assert [(p.rule, p.path[-1]) for p in reported] == [
        ("lora-target-missing", 0),
        ("value-type", 1),
        ("lora-target-missing", 3),
    ]


def test_a_misspelt_key_beside_the_right_one_is_removed() -> None:
    (reported,) = problems({"training.step": 5})
    assert reported.replacement is None
    assert "remove" in reported.hint


def test_a_key_of_another_section_names_that_section() -> None:
    (reported,) = problems({"training.warmup_steps": 5})
    assert "lr_scheduler" in reported.hint


def test_examples_of_fields_are_valid() -> None:
    """They replace invalid values, so an invalid example would hide other problems."""
    for name, attribute in attrs.fields_dict(Spec).items():
        for path, value in _examples(name, attribute):
            reported = problems({path: value})
            assert not [p for p in reported if p.rule.startswith(("value", "key"))], (path, value)


def _examples(name: str, attribute: "attrs.Attribute[Any]") -> list[tuple[str, object]]:
    section = next(
        (t for t in (attribute.type, *getattr(attribute.type, "__args__", ())) if is_section(t)),
        None,
    )
    if section is None:
        return [(name, about_field(attribute).example)]
    return [
        (f"{name}.{inner.name}", about_field(inner).example)
        for inner in attrs.fields(section)
        if name != "validation"
    ]


_values: st.SearchStrategy[object] = st.sampled_from(
    (None, True, 0, -1, 1.5, "", "x", "5", [], {}, [[]], {"a": 1}, [1, "x"], 10**19)
)


@given(st.dictionaries(st.sampled_from(sorted(VALID)), _values, max_size=6))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_any_data_gives_a_spec_and_problems(changes: dict[str, object]) -> None:
    data = {**VALID, **changes}
    document = read(json.dumps(data).encode(), "spec.yaml")
    reported = structure(document, with_defaults(document.data, {}))
    assert isinstance(reported.spec, Spec)
    for problem in reported.problems:
        assert problem.place.line == 1


def test_mutated_specs_give_problems_with_places() -> None:
    """A few of the ten thousand that `benchmarks/mutate_specs.py` checks."""
    for content in mutants(90, seed=1):
        for problem in check_text(content).problems:
            assert problem.place.line >= 1
            assert problem.place.column >= 1
            assert problem.message
