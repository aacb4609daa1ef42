"""Explain a field or a rule, from its documentation in the code."""

import re
from collections.abc import Iterable, Mapping
from textwrap import fill

from cvbundle.problems import Rule, Severity, UserError
from cvbundle.rules.every import all_rules
from cvbundle.rules.rule import Constraint
from cvbundle.spec import sweep
from cvbundle.spec.fields import Field, all_fields
from cvbundle.spec.flow import flow
from cvbundle.spec.nearest import nearest
from cvbundle.spec.rules import ReadingRule

Topic = Field | Rule

_WIDTH = 96


class UnknownTopic(UserError, LookupError):
    """A name that is neither a rule nor a field; `near` is the most similar name."""

    def __init__(self, name: str, near: str | None) -> None:
        self.name = name
        self.near = near
        meant = f"did you mean {near}?" if near else "cvbundle explain lists all"
        super().__init__(f"{name} is neither a rule nor a field: {meant}")


def spec_fields() -> tuple[Field, ...]:
    """Every section and field of a spec, including `sweep`."""
    return (*all_fields(), sweep.FIELD)


def every_rule() -> tuple[Rule, ...]:
    """Every rule, sorted by id: the order of declaration is that of imports."""
    return tuple(sorted(all_rules().values(), key=lambda rule: rule.id))


def find_topics(name: str) -> tuple[Topic, ...]:
    """The topics of a name: one rule, one field, or every field with this last word.

    Raises:
        UnknownTopic: there is no such rule or field.
    """
    rules = all_rules()
    if name in rules:
        return (rules[name],)
    fields = spec_fields()
    whole = tuple(field for field in fields if field.name == name)
    if whole:
        return whole
    by_last_word = tuple(field for field in fields if field.path[-1] == name)
    if by_last_word:
        return by_last_word
    last_words = {field.path[-1]: field.name for field in reversed(fields)}
    near = nearest(name, [*rules, *(field.name for field in fields), *last_words])
    raise UnknownTopic(name, last_words.get(near, near) if near else None)


def topic_text(topic: Topic) -> str:
    """A rule or field as text."""
    return _rule_text(topic) if isinstance(topic, Rule) else _field_text(topic)


def overview_text() -> str:
    """All fields and rules, one per line."""
    lines = ["Fields"]
    for field in spec_fields():
        indent = "  " * len(field.path)
        name = f"{indent}{field.path[-1]}{':' if field.is_section else ''}"
        lines.append(f"{name:<34}{_first_sentence(field.about.doc)}")
    lines += ["", "Rules"]
    lines += [
        f"  {rule.id:<26}{rule.severity.value:<10}{_first_sentence(what(rule))}"
        for rule in every_rule()
    ]
    return "\n".join(lines)


def topic_data(topic: Topic) -> dict[str, object]:
    """A rule or field as data for JSON."""
    if isinstance(topic, Field):
        return {
            "kind": "section" if topic.is_section else "field",
            "name": topic.name,
            "what": topic.about.doc,
            "type": topic.kind,
            "required": topic.required,
            "default": topic.default_text,
            "example": topic.about.example,
            "local": bool(topic.about.local),
            "fields": [field.name for field in inner_fields(topic)],
        }
    good, bad = examples(topic)
    return {
        "kind": "rule",
        "name": topic.id,
        "severity": topic.severity.value,
        "what": what(topic),
        "why": topic.why,
        "source": topic.source,
        "good": good,
        "bad": bad,
    }


def overview_data() -> list[dict[str, object]]:
    """All fields and rules as data for JSON."""
    topics: list[Topic] = [*spec_fields(), *every_rule()]
    return [topic_data(topic) for topic in topics]


def what(rule: Rule) -> str:
    """What a rule requires, in one sentence."""
    return rule.what if isinstance(rule, Constraint) else rule.why


def severity_text(rule: Rule) -> str:
    """A rule's severity in words."""
    return {
        Severity.ERROR: "error",
        Severity.WAIVABLE: f"error, unless the spec has allow: [{rule.id}]",
        Severity.WARNING: f"warning; allow: [{rule.id}] silences it",
    }[rule.severity]


def examples(rule: Rule) -> tuple[str, str]:
    """Lines of a spec that follow a rule, and lines that break it; empty for rules about clips."""
    match rule:
        case ReadingRule():
            return rule.good, rule.bad
        case Constraint():
            return _settings(rule.good), _settings(rule.bad)
        case _:
            return "", ""


def inner_fields(field: Field) -> tuple[Field, ...]:
    """The fields of a section."""
    return tuple(inner for inner in all_fields() if inner.path[:-1] == field.path)


def _settings(example: Mapping[str, object]) -> str:
    return "\n".join(f"{name}: {flow(value)}" for name, value in example.items())


def _rule_text(rule: Rule) -> str:
    good, bad = examples(rule)
    entries = [("what", what(rule)), ("why", rule.why), ("source", rule.source)]
    if entries[0][1] == rule.why:
        entries.pop(0)
    return "\n".join(
        [
            f"{rule.id}: {severity_text(rule)}",
            *_items(entries),
            *_items([("good", good), ("bad", bad)]),
        ]
    )


def _field_text(field: Field) -> str:
    entries = [("what", field.about.doc)]
    if field.is_section:
        entries.append(("fields", ", ".join(inner.path[-1] for inner in inner_fields(field))))
    else:
        entries.append(("type", field.kind))
    if field.default_text:
        entries.append(("default", field.default_text))
    if field.about.example is not None:
        entries.append(("example", f"{field.name}: {flow(field.about.example)}"))
    if field.about.local:
        entries.append(
            ("local", f"about this machine, not part of the hash; {field.about.local} changes it")
        )
    head = f"{field.name}: required" if field.required else field.name
    return "\n".join([head, *_items(entries)])


def _items(entries: Iterable[tuple[str, str]]) -> list[str]:
    lines = []
    for label, text in entries:
        for number, line in enumerate(text.splitlines()):
            first = f"  {label if number == 0 else '':<9}"
            lines.append(fill(line, _WIDTH, initial_indent=first, subsequent_indent=" " * 11))
    return lines


def _first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=\w)\. |; ", text)[0].rstrip(".")
    return sentence if len(sentence) <= 70 else f"{sentence[:69]}…"
