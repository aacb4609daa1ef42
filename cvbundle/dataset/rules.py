"""Rules that are checked while a dataset's clips are listed and probed."""

from collections.abc import Mapping

from attrs import frozen

from cvbundle.dataset.bad_clip import Fault
from cvbundle.problems import Rule, Severity, declare, declared


@frozen(kw_only=True)
class DatasetRule(Rule):
    """A rule about the lists or the clips of a dataset."""

    reads: tuple[str, ...] = ()
    """The fields of the spec on which a violation depends, besides those that name the lists."""


def reads(id: str) -> tuple[str, ...]:
    """The fields of the spec on which a violation of a rule of this module depends."""
    rule = declared()[id]
    return rule.reads if isinstance(rule, DatasetRule) else ()


def _rule(
    id: str, severity: Severity, *, why: str, source: str, reads: tuple[str, ...] = ()
) -> DatasetRule:
    return declare(DatasetRule(id=id, severity=severity, why=why, source=source, reads=reads))


CAPTION_COUNT = _rule(
    "caption-count",
    Severity.ERROR,
    why="Clips, captions and images are matched line by line: a missing line shifts all that "
    "follow.",
    source="zai-org/CogVideo finetune/datasets/utils.py; executed: a blank line shifts captions",
)
CLIP_MISSING = _rule(
    "clip-missing",
    Severity.ERROR,
    why="A listed clip doesn't exist.",
    source="open(2), ENOENT",
)
CLIP_DAMAGED = _rule(
    "clip-damaged",
    Severity.WARNING,
    why="A clip contains bytes that no encoder writes, though its decoder reports nothing: some "
    "frames may be corrupted.",
    source="ITU-T H.264 and H.265, 7.4.1; executed: 1000 zeros in a frame decode without an error",
)
CLIP_FPS = _rule(
    "clip-fps",
    Severity.WARNING,
    why="Clips of different frame rates show the same motion at different speeds.",
    source="zai-org/CogVideo README.md:189-258: the models are trained at one rate, 8 frames a "
    "second (1.0) or 16 (1.5)",
)
CAPTION_DUPLICATE = _rule(
    "caption-duplicate",
    Severity.WARNING,
    why="The same caption for several clips can't distinguish them; often a list was pasted twice.",
    source="zai-org/CogVideo finetune/datasets/utils.py pairs lists line by line",
)
NAMES_SHIFTED = _rule(
    "names-shifted",
    Severity.WARNING,
    why="Clips and images are matched line by line; their names suggest that a list is shifted.",
    source="zai-org/CogVideo finetune/datasets/utils.py pairs lists line by line",
)
CLIP_UNREADABLE = _rule(
    "clip-unreadable",
    Severity.ERROR,
    why="The file has no video stream that can be decoded.",
    source="av.error.InvalidDataError; ffmpeg.org/ffmpeg-formats.html",
    reads=("data.bad_samples",),
)
CLIP_TRUNCATED = _rule(
    "clip-truncated",
    Severity.ERROR,
    why="The file is shorter than its own index states; the missing part can't be trained on.",
    source="executed: the upstream trainer stops at such a clip after encoding those before it",
    reads=("data.bad_samples",),
)
CLIP_SHORT = _rule(
    "clip-short",
    Severity.ERROR,
    why="The clip has fewer frames than a sample.",
    source="zai-org/CogVideo finetune/datasets/utils.py:130-146 repeats the last frame silently",
    reads=(
        "data.resolution",
        "data.short_clips",
    ),
)
CAPTION_EMPTY = _rule(
    "caption-empty",
    Severity.WARNING,
    why="An empty caption teaches nothing about the clip; use data.caption_dropout for that.",
    source="executed: the upstream trainer drops a blank line, and the captions after it shift",
)
CAPTION_TOO_LONG = _rule(
    "caption-too-long",
    Severity.WARNING,
    why="The tokenizer truncates at the model's longest prompt: the rest has no effect.",
    source="diffusers pipeline_cogvideox.py:529 truncates at 226 tokens; 1.5 was trained on 224 "
    "(zai-org/CogVideo sat/configs/cogvideox1.5_5b.yaml:52)",
    reads=("data.caption_prefix",),
)
CLIP_DUPLICATE = _rule(
    "clip-duplicate",
    Severity.WARNING,
    why="A clip listed twice counts twice, and with two captions teaches a mixture of them.",
    source="executed: each row of a list is a sample in every epoch",
)
CLIP_UPSCALED = _rule(
    "clip-upscaled",
    Severity.WARNING,
    why="A clip smaller than the sample is upscaled: the model learns the blur.",
    source="zai-org/CogVideo finetune/datasets/utils.py resizes silently",
    reads=(
        "data.resolution",
        "data.fit",
    ),
)
CLIP_ASPECT = _rule(
    "clip-aspect",
    Severity.WARNING,
    why="A clip of a very different aspect ratio is mostly cropped away, or distorted.",
    source="zai-org/CogVideo finetune/datasets/utils.py distorts silently",
    reads=(
        "data.resolution",
        "data.fit",
    ),
)

FAULTS: Mapping[Fault, DatasetRule] = {
    "clip-unreadable": CLIP_UNREADABLE,
    "clip-truncated": CLIP_TRUNCATED,
    "clip-short": CLIP_SHORT,
}
"""The rules that a bad clip or image breaks."""
