"""The schema accepts valid specs and rejects fields that are wrong on their own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from cvbundle.authoring.starters import Starter, all_starters, starter_text
from cvbundle.cli import main
from cvbundle.compiler.check import check_document
from cvbundle.rules.every import acceptable_rules
from cvbundle.spec.about import about_field, is_section
from cvbundle.spec.fields import all_fields
from cvbundle.spec.json_schema import spec_schema
from cvbundle.spec.schema import Spec
from cvbundle.spec.text.reader import read
from tests.spec.mutations import mutants

VALID = """\
cvbundle: 1
name: tiny
model: {path: THUDM/CogVideoX-2b}
data: {root: clips}
training: {steps: 10}
"""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    """A validator of the schema, which is valid itself."""
    schema = spec_schema(acceptable_rules())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def strict(validator: Draft202012Validator) -> Any:
    """The same, with the stricter whole numbers of a spec."""

    def is_whole(_: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", is_whole)
    strict_class: Any = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, type_checker=checker
    )
    return strict_class(validator.schema)


def data(text: str) -> dict[str, object]:
    document = read(text.encode(), "spec.yaml")
    assert document.problems == ()
    return document.data


def errors(validator: Draft202012Validator, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(data(text))]


def test_a_small_spec_is_valid(validator: Draft202012Validator) -> None:
    assert errors(validator, VALID) == []


@pytest.mark.parametrize("starter", all_starters(), ids=lambda starter: starter.name)
def test_every_starter_is_valid(starter: Starter, validator: Draft202012Validator) -> None:
    assert errors(validator, starter_text(starter)) == []


@pytest.mark.parametrize(
    "more",
    [
        "lora: null",
        "lora: {rank: 64, alpha: 32.5}",
        "validation: {steps: 1, prompts: prompts.txt}",
        "validation: {steps: 1, prompts: [A cat.], images: images.txt}",
        "tracking: {report_to: []}",
        "allow: [memory]",
        "sweep: {lora.rank: [1, 2]}",
        "sweep: [{lora.rank: 1, lora.alpha: 2}]",
        "sweep: {training.image_noise: [null, {mean: -3.0, std: 0.5}]}",
    ],
)
def test_what_a_spec_accepts_is_valid(more: str, validator: Draft202012Validator) -> None:
    assert errors(validator, VALID + more) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cvbundle: 1", "cvbundle: 2"),
        ("name: tiny", "name: Tiny"),
        ("name: tiny\n", ""),
        ("{root: clips}", "{}"),
        ("{root: clips}", "{root: clips, rot: clips}"),
        ("{root: clips}", "{root: clips, resolution: 49x480}"),
        ("{root: clips}", "{root: clips, resolution: [49, 480]}"),
        ("{root: clips}", "{root: clips, caption_dropout: 1.5}"),
        ("{root: clips}", "{root: clips, pin_memory: 'true'}"),
        ("{steps: 10}", "{}"),
        ("{steps: 10}", "{steps: 10, epochs: 1}"),
        ("{steps: 10}", "{steps: 0}"),
        ("{steps: 10}", "{steps: 10, type: lara}"),
        ("{steps: 10}", "{steps: 10, learning_rate: 0}"),
        ("{steps: 10}", "{steps: 10, seed: 1.5}"),
        ("{steps: 10}", "{steps: 10}\nlora: {target_modules: []}"),
        ("{steps: 10}", "{steps: 10}\nlora: {target_modules: to_q}"),
        ("{steps: 10}", "{steps: 10}\nlora: {dropout: 1}"),
        ("{steps: 10}", "{steps: 10}\noptimizer: {betas: [0.9, 1.0]}"),
        ("{steps: 10}", "{steps: 10}\ntracking: {report_to: [tensorbord]}"),
        ("{steps: 10}", "{steps: 10}\nvalidation: {steps: 1}"),
        ("{steps: 10}", "{steps: 10}\nsweep: {lora.rnk: [1]}"),
        ("{steps: 10}", "{steps: 10}\nsweep: {lora.rank: 1}"),
        ("{steps: 10}", "{steps: 10}\nsweep: {lora.rank: [0]}"),
        ("{steps: 10}", "{steps: 10}\nsweep: [{training.type: lara}]"),
        ("{steps: 10}", "{steps: 10}\nextra: 1"),
    ],
)
def test_a_field_that_is_wrong_on_its_own_is_not_valid(
    old: str, new: str, validator: Draft202012Validator
) -> None:
    assert old in VALID
    assert errors(validator, VALID.replace(old, new)) != []


def test_schema_and_check_agree_on_mutated_specs(
    validator: Draft202012Validator, tmp_path: Path
) -> None:
    """Except on whole numbers: 1.0 is one in JSON Schema, but not in a spec."""
    validator = strict(validator)
    by_field = {"key-unknown", "value-missing", "value-type", "value-choice"}
    compared = 0
    for content in mutants(200, seed=3):
        document = read(content, "spec.yaml")
        if document.problems:
            continue
        rules = {problem.rule for problem in check_document(document, tmp_path).problems}
        if validator.is_valid(document.data):
            assert not rules & by_field, content
        else:
            # A path to nothing is out of range, too, so that alone is no reason for the schema.
            assert rules & (by_field | {"value-range", "steps-or-epochs"}), content
        compared += 1
    assert compared > 50


def test_allow_completes_the_ids_that_can_be_accepted() -> None:
    schema = spec_schema(acceptable_rules())
    assert "precision-fp16" in schema["properties"]["allow"]["items"]["enum"]
    assert "frames-vae" not in schema["properties"]["allow"]["items"]["enum"]


def test_the_command_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schema"])
    assert json.loads(capsys.readouterr().out) == spec_schema(acceptable_rules())


def test_exactly_the_fields_of_the_spec_are_described() -> None:
    schema = spec_schema()
    described = set(_properties(schema, ()))
    assert described == {field.path for field in all_fields()} | {("sweep",)}


def test_every_limit_of_the_classes_is_in_the_schema() -> None:
    """A kind of limit that the schema can't express would be left out silently."""
    walked = [field.path for field in all_fields()]
    assert walked == list(_paths(Spec, ()))


def test_every_example_and_default_is_valid() -> None:
    whole = {**spec_schema(), "$id": "urn:spec"}
    for path, schema in _schemas(whole, ()):
        at = "".join(f"/properties/{step}" for step in path)
        inner = Draft202012Validator({"$ref": f"urn:spec#{at}", "$defs": {"spec": whole}})
        for value in (*schema.get("examples", ()), *_given(schema, "default")):
            assert list(inner.iter_errors(value)) == [], (path, value)


def _given(schema: dict[str, Any], name: str) -> tuple[object, ...]:
    return (schema[name],) if name in schema else ()


def _properties(schema: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for path, inner in _schemas(schema, above):
        assert inner["description"]
        yield path


def _schemas(
    schema: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        yield (*above, name), inner
        yield from _schemas(inner, (*above, name))


def _paths(cls: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for attribute in attrs.fields(cls):
        path = (*above, attribute.name)
        assert about_field(attribute).doc
        yield path
        inner: Any = attribute.type
        options = [option for option in getattr(inner, "__args__", (inner,)) if is_section(option)]
        for option in options:
            yield from _paths(option, path)
