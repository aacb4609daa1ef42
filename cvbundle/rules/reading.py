"""What is wrong while a spec is read and its values are put into their fields.

These are found by `spec.source` and `spec.structure`, before any rule looks at the spec.
"""

from attrs import frozen

from cvbundle.problems import Severity
from cvbundle.rules.rule import describe


@frozen
class Texts:
    """A line of a spec that is right, and one that breaks the rule."""

    good: str
    bad: str


EXAMPLES = {
    describe(id, Severity.ERROR, why=why, source=source).id: Texts(good, bad)
    for id, why, source, good, bad in (
        (
            "yaml-syntax",
            "The text is not YAML from this place on: nothing behind it can be read.",
            "yaml.org/spec/1.2.2",
            "lora: {rank: 64}",
            "lora: {rank: 64",
        ),
        (
            "yaml-unsafe",
            "Aliases, anchors, tags, several documents, great depth or size and bytes that aren't "
            "UTF-8 make a text mean more than it shows, or take more memory than it has.",
            "design, section 3",
            "lora: {rank: 64}",
            "lora: &adapter {rank: 64}",
        ),
        (
            "yaml-ambiguous",
            "YAML 1.1 and 1.2 read the value differently, and tools are split between them.",
            "yaml.org/spec/1.2.2, section 10.3.2; yaml.org/type/int.html",
            "training: {seed: 10}",
            "training: {seed: 010}",
        ),
        (
            "key-duplicate",
            "Of two equal keys one would be ignored, and which one depends on the reader.",
            "yaml.org/spec/1.2.2, section 3.2.1.1",
            "lora: {rank: 64}",
            "lora: {rank: 64, rank: 128}",
        ),
        (
            "key-unknown",
            "A misspelt field would be ignored, and its default used instead.",
            "promise 5 of the design: nothing is silently something else",
            "lora: {rank: 64}",
            "lora: {rnk: 64}",
        ),
        (
            "value-missing",
            "The field has no default: nobody but the author of the spec can know it.",
            "design, section 3",
            "data: {root: clips}",
            "data: {}",
        ),
        (
            "value-type",
            'Types are strict: a guess at what "5", 1.7 or a bare word was to mean may be wrong.',
            "design, section 3",
            "lora: {rank: 64}",
            'lora: {rank: "64"}',
        ),
        (
            "value-range",
            "The value is of the right type but can't be meant: beyond a limit, or a path to "
            "nothing.",
            "design, section 3",
            "lora: {rank: 64}",
            "lora: {rank: 0}",
        ),
        (
            "value-choice",
            "The field takes one of a few values, and this is none of them.",
            "design, section 3",
            "training: {type: lora}",
            "training: {type: lara}",
        ),
    )
}
"""Of each rule by its id."""

SPEC_UNREADABLE = describe(
    "spec-unreadable",
    Severity.ERROR,
    why="The spec itself can't be read: it is not there, is no file, or may not be opened.",
    source="cvbundle spec/file.py",
)
