"""Every field and rule is explained, in one text that all commands share."""

import json

import pytest

from cvbundle.authoring.explain import (
    UnknownTopic,
    find_topics,
    spec_fields,
    topic_data,
    topic_text,
)
from cvbundle.cli import main
from cvbundle.compiler.resolved import resolve
from cvbundle.files.templates import templates_folder
from cvbundle.rules.every import all_rules
from cvbundle.spec.rules import ReadingRule
from cvbundle.spec.text.reader import read

SPEC = """\
cvbundle: 1
name: tiny
model: {path: THUDM/CogVideoX-2b}
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["explain", *arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", [*all_rules(), *(field.name for field in spec_fields())])
def test_every_rule_and_field_is_found_by_its_own_name_and_says_what_it_is(name: str) -> None:
    (topic,) = find_topics(name)
    text = topic_text(topic)
    assert text.startswith(name)
    assert "\n  what " in text or "\n  why " in text
    assert json.loads(json.dumps(topic_data(topic)))["name"] == name


def test_a_rule_says_why_it_stands_and_shows_both_examples() -> None:
    (rule,) = find_topics("frames-vae")
    text = topic_text(rule)
    for label in ("what", "why", "source", "good", "bad"):
        assert f"\n  {label} " in text
    assert "data.resolution: 48x480x720" in text


def test_a_rule_that_can_be_accepted_says_how() -> None:
    (rule,) = find_topics("precision-fp16")
    assert "allow: [precision-fp16]" in topic_text(rule)


def test_a_field_says_its_type_limits_and_default() -> None:
    (field,) = find_topics("lora.rank")
    assert "whole number ≥ 1" in topic_text(field)
    assert topic_data(field)["default"] == "128"


def test_the_last_word_of_a_field_is_enough_and_shows_all_that_have_it() -> None:
    assert [topic_data(topic)["name"] for topic in find_topics("rank")] == ["lora.rank"]
    names = [topic_data(topic)["name"] for topic in find_topics("steps")]
    assert names == ["training.steps", "checkpointing.steps", "validation.steps"]


@pytest.mark.parametrize(
    ("typo", "near"),
    [
        ("lora.rnk", "lora.rank"),
        ("rnak", "lora.rank"),
        ("frame-vae", "frames-vae"),
        ("Training.Learning_Rate", "training.learning_rate"),
        ("xyzzy", None),
        ("", None),
    ],
)
def test_a_typo_names_what_was_meant(typo: str, near: str | None) -> None:
    with pytest.raises(UnknownTopic) as error:
        find_topics(typo)
    assert error.value.near == near


@pytest.mark.parametrize(
    "rule", [rule for rule in all_rules().values() if isinstance(rule, ReadingRule)]
)
def test_the_examples_of_reading_rules_are_right_and_wrong(rule: ReadingRule) -> None:
    for text, broken in ((rule.good, False), (rule.bad, True)):
        document = read(f"{SPEC}{text}\n".encode(), "spec.yaml")
        found = resolve(document, templates_folder()).problems
        place = [problem.rule for problem in found if problem.place.line == 4]
        assert (rule.id in place or (broken and rule.id in [p.rule for p in found])) == broken


def test_explain_without_a_name_lists_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    listed = capsys.readouterr().out
    for name in (*all_rules(), *(field.path[-1] for field in spec_fields())):
        assert f" {name}" in listed


def test_explain_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json") == 0
    everything = json.loads(capsys.readouterr().out)
    assert len(everything) == len(all_rules()) + len(spec_fields())
    assert run("--json", "lora.rank") == 0
    assert json.loads(capsys.readouterr().out)[0]["type"] == "whole number ≥ 1"


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("lora.rnk") == 2
    assert "did you mean lora.rank?" in capsys.readouterr().err
