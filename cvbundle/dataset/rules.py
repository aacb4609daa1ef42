"""What can be wrong with a dataset: found while its clips are listed and opened."""

from cvbundle.problems import Rule, Severity, declare


def _rule(id: str, severity: Severity, *, why: str, source: str) -> Rule:
    return declare(Rule(id=id, severity=severity, why=why, source=source))


CAPTION_COUNT = _rule(
    "caption-count",
    Severity.ERROR,
    why="Captions, clips and images belong together line by line: a missing line shifts all that "
    "follow.",
    source="zai-org/CogVideo finetune/datasets/utils.py; executed: a blank line shifts captions",
)
CLIP_MISSING = _rule(
    "clip-missing",
    Severity.ERROR,
    why="A clip that the list names is not there.",
    source="open(2), ENOENT",
)
CLIP_DAMAGED = _rule(
    "clip-damaged",
    Severity.WARNING,
    why="Bytes that no encoder writes stand in a clip, though its decoder notices nothing: some of "
    "its frames may be smeared.",
    source="ITU-T H.264 and H.265, 7.4.1; executed: 1000 zeros in a frame decode without an error",
)
CLIP_FPS = _rule(
    "clip-fps",
    Severity.WARNING,
    why="Clips of different frame rates show the same motion at different speeds.",
    source="the models are trained at one rate: 8 frames a second (1.0), 16 (1.5)",
)
CAPTION_DUPLICATE = _rule(
    "caption-duplicate",
    Severity.WARNING,
    why="Clips with one caption can't be told apart by it; often a list was pasted twice.",
    source="zai-org/CogVideo finetune/datasets/utils.py pairs lists line by line",
)
NAMES_SHIFTED = _rule(
    "names-shifted",
    Severity.WARNING,
    why="Clips and images go together line by line; their names say that a list has slipped.",
    source="zai-org/CogVideo finetune/datasets/utils.py pairs lists line by line",
)
CLIP_UNREADABLE = _rule(
    "clip-unreadable",
    Severity.ERROR,
    why="A file without a video stream that can be decoded.",
    source="av.error.InvalidDataError; ffmpeg.org/ffmpeg-formats.html",
)
CLIP_TRUNCATED = _rule(
    "clip-truncated",
    Severity.ERROR,
    why="A file that ends before its own index says; what is missing can't be trained on.",
    source="executed: the upstream trainer stops at such a clip after encoding those before it",
)
CLIP_SHORT = _rule(
    "clip-short",
    Severity.ERROR,
    why="A clip of fewer frames than a sample has.",
    source="zai-org/CogVideo finetune/datasets/utils.py:130-146 repeats the last frame silently",
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
    why="The tokenizer cuts what is beyond the model's longest prompt: those words train nothing.",
    source="diffusers pipeline_cogvideox.py:529 truncates at 226 tokens; 1.5 was trained on 224 "
    "(zai-org/CogVideo sat/configs/cogvideox1.5_5b.yaml:52)",
)
CLIP_DUPLICATE = _rule(
    "clip-duplicate",
    Severity.WARNING,
    why="The same clip twice weighs twice, and with two captions teaches a mixture of them.",
    source="executed: each row of a list is a sample of every epoch",
)
CLIP_UPSCALED = _rule(
    "clip-upscaled",
    Severity.WARNING,
    why="A clip smaller than the sample is enlarged: the model learns the blur.",
    source="zai-org/CogVideo finetune/datasets/utils.py resizes silently",
)
CLIP_ASPECT = _rule(
    "clip-aspect",
    Severity.WARNING,
    why="A clip of quite another shape loses most of its picture to the crop, or is distorted.",
    source="zai-org/CogVideo finetune/datasets/utils.py distorts silently",
)
