"""Rules about a spec's text and the values of single fields.

They are checked before any rule about several fields.
"""

from attrs import frozen

from cvbundle.problems import Rule, Severity, declare


@frozen(kw_only=True)
class ReadingRule(Rule):
    """A rule about a spec's text, with a line that follows it and one that breaks it."""

    good: str
    bad: str


def _reading(id: str, *, why: str, source: str, good: str, bad: str) -> ReadingRule:
    severity = Severity.ERROR
    return declare(
        ReadingRule(id=id, severity=severity, why=why, source=source, good=good, bad=bad)
    )


YAML_SYNTAX = _reading(
    "yaml-syntax",
    why="The text is not YAML from this place on, so the rest can't be read.",
    source="yaml.org/spec/1.2.2",
    good="lora: {rank: 64}",
    bad="lora: {rank: 64",
)
YAML_UNSAFE = _reading(
    "yaml-unsafe",
    why="Aliases, anchors, tags, several documents, excessive depth or size and bytes that aren't "
    "UTF-8 hide what a text means, or expand to far more memory than its size.",
    source="yaml.org/spec/1.2.2, sections 3.2.2.2 and 9.2",
    good="lora: {rank: 64}",
    bad="lora: &adapter {rank: 64}",
)
YAML_AMBIGUOUS = _reading(
    "yaml-ambiguous",
    why="YAML 1.1 and 1.2 read the value differently, and both are in use.",
    source="yaml.org/spec/1.2.2, section 10.3.2; yaml.org/type/int.html",
    good="training: {seed: 10}",
    bad="training: {seed: 010}",
)
KEY_DUPLICATE = _reading(
    "key-duplicate",
    why="One of two equal keys would be ignored, and which one depends on the parser.",
    source="yaml.org/spec/1.2.2, section 3.2.1.1",
    good="lora: {rank: 64}",
    bad="lora: {rank: 64, rank: 128}",
)
KEY_UNKNOWN = _reading(
    "key-unknown",
    why="A misspelt field would be ignored, and its default used instead.",
    source="cattrs.errors, ForbiddenExtraKeysError",
    good="lora: {rank: 64}",
    bad="lora: {rnk: 64}",
)
VALUE_MISSING = _reading(
    "value-missing",
    why="The field has no default: only the author of the spec can know it.",
    source="docs/spec.md: the field has no default",
    good="data: {root: clips}",
    bad="data: {}",
)
VALUE_TYPE = _reading(
    "value-type",
    why='Types are strict: a guess at the meaning of "5", 1.7 or a bare word may be wrong.',
    source="yaml.org/spec/1.2.2, section 10.3; cattrs coerces by default",
    good="lora: {rank: 64}",
    bad='lora: {rank: "64"}',
)
VALUE_RANGE = _reading(
    "value-range",
    why="The value has the right type but is out of its limits, or a path that doesn't exist.",
    source="the limits of each field: cvbundle explain FIELD",
    good="lora: {rank: 64}",
    bad="lora: {rank: 0}",
)
VALUE_CHOICE = _reading(
    "value-choice",
    why="The value is not among those that the field accepts.",
    source="the choices of each field: cvbundle explain FIELD",
    good="training: {type: lora}",
    bad="training: {type: lara}",
)
SPEC_UNREADABLE = declare(
    Rule(
        id="spec-unreadable",
        severity=Severity.ERROR,
        why="The spec can't be read: it doesn't exist, is not a file, or permission is denied.",
        source="open(2)",
    )
)
