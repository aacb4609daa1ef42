"""Every rule's good example follows it, and its bad example breaks it."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from cvbundle.rules import launch, optimizer
from cvbundle.rules.every import all_checks, all_rules
from cvbundle.rules.rule import Check, Constraint, Subject
from cvbundle.spec.about import is_section
from tests.rules.specs import check_text, line_of, text_of

CONSTRAINTS = [rule for rule in all_rules().values() if isinstance(rule, Constraint)]
FOLLOWED: dict[str, dict[str, object]] = {
    "image-column-with-t2v": {"data.image_column": ...},
    "lora-with-sft": {"lora.rank": ...},
    "memory": {"launch.strategy": "zero3-offload"},
    "optimizer-missing": {"optimizer.name": "adamw"},
    "optimizer-unused": {"optimizer.beta3": ...},
    "polynomial-end": {"training.learning_rate": 1e-4},
    "schedule-unused": {"lr_scheduler.num_cycles": ...},
    "steps-or-epochs": {"training.epochs": ...},
    "validation-images": {"validation.images": ["cat.png", "dog.png"]},
}
"""Of the rules without a replacement, what the hint says to change; `...` is to be removed."""
WITH_REPLACEMENT = [rule for rule in CONSTRAINTS if rule.id not in FOLLOWED]
WITHOUT_REPLACEMENT = [rule for rule in CONSTRAINTS if rule.id in FOLLOWED]
CHECKS = [check for check in all_checks() if isinstance(check.rule, Constraint)]


@pytest.fixture(autouse=True)
def nothing_optional_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not depend on which optimizer packages are installed."""
    monkeypatch.setattr(optimizer, "is_installed", lambda package: package == "prodigyopt")


def test_exactly_the_documented_rules_are_registered() -> None:
    assert set(all_rules()) >= {
        "frames-vae",
        "frames-8n-plus-1",
        "frames-fixed",
        "resolution-fixed",
        "resolution-5b",
        "resolution-multiple",
        "resolution-grid",
        "resolution-untrained",
        "precision-fp16",
        "task-matches-model",
        "lora-target-missing",
        "lora-target-broad",
        "steps-or-epochs",
        "warmup-exceeds-steps",
        "lora-with-sft",
        "image-column-with-t2v",
        "validation-interval",
        "validation-images",
        "caption-count",
        "clip-missing",
        "clip-unreadable",
        "clip-truncated",
        "clip-short",
        "caption-empty",
        "caption-too-long",
        "clip-duplicate",
        "clip-upscaled",
        "clip-aspect",
        "batch-not-divisible",
        "memory",
        "checkpoint-never",
        "optimizer-missing",
    }


@pytest.mark.parametrize("rule", CONSTRAINTS, ids=lambda rule: rule.id)
def test_a_good_example_has_no_problem_at_all(rule: Constraint) -> None:
    assert check_text(text_of(rule.good)).problems == ()


@pytest.mark.parametrize("rule", CONSTRAINTS, ids=lambda rule: rule.id)
def test_a_bad_example_has_the_rules_problem_at_its_field(rule: Constraint) -> None:
    text = text_of(rule.bad)
    problems = check_text(text).problems
    assert [problem.rule for problem in problems] == [rule.id]
    problem = problems[0]
    field = ".".join(step for step in problem.path if isinstance(step, str))
    assert field in rule.bad or field == "lora"
    assert problem.place.line == line_of(text, field)
    shown = problem.place.text[problem.place.column - 1 :]
    value = text.splitlines()[problem.place.line - 1].partition(": ")[2]
    assert shown
    assert shown in value or shown.startswith(f"{field}:")
    assert problem.severity is rule.severity
    assert problem.hint


@pytest.mark.parametrize("rule", WITH_REPLACEMENT, ids=lambda rule: rule.id)
def test_the_replacement_fixes_the_bad_example(rule: Constraint) -> None:
    text = text_of(rule.bad)
    (problem,) = check_text(text).problems
    assert problem.replacement is not None
    lines = text.splitlines()
    line, start = problem.place.line - 1, problem.place.column - 1
    before, after = lines[line][:start], lines[line][start + problem.place.width :]
    lines[line] = f"{before}{problem.replacement}{after}"
    assert rule.id not in [reported.rule for reported in check_text("\n".join(lines)).problems]


@pytest.mark.parametrize("rule", WITHOUT_REPLACEMENT, ids=lambda rule: rule.id)
def test_following_the_hint_fixes_the_bad_example_where_no_single_value_does(
    rule: Constraint,
) -> None:
    (problem,) = check_text(text_of(rule.bad)).problems
    assert problem.replacement is None
    mended = dict(rule.bad)
    for field, value in FOLLOWED[rule.id].items():
        if value is ...:
            assert "remove" in problem.hint
            del mended[field]
        else:
            assert _mentions(problem.hint, value)
            mended[field] = value
    assert check_text(text_of(mended)).problems == ()


def _mentions(hint: str, value: object) -> bool:
    """Whether a hint says a value, or how long a list should be."""
    if isinstance(value, list):
        return f" {len(value)} " in hint
    return str(value) in hint or (isinstance(value, float) and "1e-4" in hint)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.rule.id)
def test_a_check_reads_only_what_it_declares(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an undeclared invalid field, the check would see a stand-in."""
    assert isinstance(check.rule, Constraint)
    examples = [check_text(text_of(example)) for example in (check.rule.good, check.rule.bad)]
    monkeypatch.setattr(launch, "evolve", _Recorder.evolved)
    for checked in examples:
        seen: set[str] = set()
        subject = Subject(
            _Recorder(checked.spec, "", seen),  # type: ignore[arg-type]
            checked.model,  # type: ignore[arg-type]
            checked.document,
            Path(),
        )
        list(check.find(subject))
        declared = {name.removesuffix("[]") for name in check.reads}
        assert {name for name in seen if not _declared(name, declared)} == set()


class _Recorder:
    """A section of a spec that records which of its fields are read."""

    def __init__(self, section: Any, name: str, seen: set[str]) -> None:
        self._of, self._name, self._seen = section, name, seen
        self._changes: dict[str, Any] = {}

    def evolved(self, **changes: Any) -> "_Recorder":
        copy = _Recorder(self._of, self._name, self._seen)
        copy._changes = {**self._changes, **changes}
        return copy

    def __getattr__(self, name: str) -> Any:
        if name in self._changes:
            return self._changes[name]
        derived = getattr(type(self._of), name, None)
        if isinstance(derived, property) and derived.fget is not None:
            # What it is derived from is what is read.
            return derived.fget(self)
        value = getattr(self._of, name)
        path = f"{self._name}.{name}".lstrip(".")
        if attrs.has(type(value)) and is_section(type(value)):
            return _Recorder(value, path, self._seen)
        self._seen.add(path)
        return value


def _declared(name: str, declared: set[str]) -> bool:
    # A section that isn't there is read as None.
    return any(
        name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.")
        for other in declared
    )


def test_every_rule_has_its_texts() -> None:
    for rule in all_rules().values():
        assert rule.why.endswith(".")
        assert rule.source
        if isinstance(rule, Constraint):
            assert rule.what
    for check in all_checks():
        assert check.reads
