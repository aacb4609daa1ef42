"""What can be wrong while a spec is read and its values are put into their fields.

These are found before any constraint between fields is looked at.
"""

from attrs import frozen

from cvbundle.problems import Rule, Severity, declare


@frozen(kw_only=True)
class ReadingRule(Rule):
    """A rule about a spec's text, with a line that keeps to it and one that breaks it."""

    good: str
    bad: str


def _reading(id: str, *, why: str, source: str, good: str, bad: str) -> ReadingRule:
    severity = Severity.ERROR
    return declare(
        ReadingRule(id=id, severity=severity, why=why, source=source, good=good, bad=bad)
    )


YAML_SYNTAX = _reading(
    "yaml-syntax",
    why="The text is not YAML from this place on: nothing behind it can be read.",
    source="yaml.org/spec/1.2.2",
    good="lora: {rank: 64}",
    bad="lora: {rank: 64",
)
YAML_UNSAFE = _reading(
    "yaml-unsafe",
    why="Aliases, anchors, tags, several documents, great depth or size and bytes that aren't "
    "UTF-8 make a text mean more than it shows, or take more memory than it has.",
    source="yaml.org/spec/1.2.2, sections 3.2.2.2 and 9.2",
    good="lora: {rank: 64}",
    bad="lora: &adapter {rank: 64}",
)
YAML_AMBIGUOUS = _reading(
    "yaml-ambiguous",
    why="YAML 1.1 and 1.2 read the value differently, and tools are split between them.",
    source="yaml.org/spec/1.2.2, section 10.3.2; yaml.org/type/int.html",
    good="training: {seed: 10}",
    bad="training: {seed: 010}",
)
KEY_DUPLICATE = _reading(
    "key-duplicate",
    why="Of two equal keys one would be ignored, and which one depends on the reader.",
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
    why="The field has no default: nobody but the author of the spec can know it.",
    source="docs/spec.md: the field has no default",
    good="data: {root: clips}",
    bad="data: {}",
)
VALUE_TYPE = _reading(
    "value-type",
    why='Types are strict: a guess at what "5", 1.7 or a bare word was to mean may be wrong.',
    source="yaml.org/spec/1.2.2, section 10.3; cattrs coerces by default",
    good="lora: {rank: 64}",
    bad='lora: {rank: "64"}',
)
VALUE_RANGE = _reading(
    "value-range",
    why="The value is of the right type but can't be meant: beyond a limit, or a path to nothing.",
    source="the limits stand beside each field: cvbundle explain FIELD",
    good="lora: {rank: 64}",
    bad="lora: {rank: 0}",
)
VALUE_CHOICE = _reading(
    "value-choice",
    why="The field takes one of a few values, and this is none of them.",
    source="the choices stand beside each field: cvbundle explain FIELD",
    good="training: {type: lora}",
    bad="training: {type: lara}",
)
SPEC_UNREADABLE = declare(
    Rule(
        id="spec-unreadable",
        severity=Severity.ERROR,
        why="The spec itself can't be read: it is not there, is no file, or may not be opened.",
        source="open(2)",
    )
)
