"""Rules that are checked while clips are listed and opened; see `cvbundle.dataset`."""

from cvbundle.problems import Severity
from cvbundle.rules.rule import describe

CAPTION_COUNT = describe(
    "caption-count",
    Severity.ERROR,
    why="Captions and clips belong together line by line: a missing line shifts all that follow.",
    source="zai-org/CogVideo finetune/datasets/utils.py; executed: a blank line shifts captions",
)
CLIP_MISSING = describe(
    "clip-missing",
    Severity.ERROR,
    why="A clip that the list names is not there.",
    source="design, section 4",
)
CLIP_DAMAGED = describe(
    "clip-damaged",
    Severity.WARNING,
    why="Bytes that no encoder writes stand in a clip, though its decoder notices nothing: some of "
    "its frames may be smeared.",
    source="ITU-T H.264 and H.265, 7.4.1; executed: 1000 zeros in a frame decode without an error",
)
CLIP_FPS = describe(
    "clip-fps",
    Severity.WARNING,
    why="Clips of different frame rates show the same motion at different speeds.",
    source="the models are trained at one rate: 8 frames a second (1.0), 16 (1.5)",
)
CAPTION_DUPLICATE = describe(
    "caption-duplicate",
    Severity.WARNING,
    why="Clips with one caption can't be told apart by it; often a list was pasted twice.",
    source="cvbundle issue 4",
)
NAMES_SHIFTED = describe(
    "names-shifted",
    Severity.WARNING,
    why="Clips and images go together line by line; their names say that a list has slipped.",
    source="cvbundle issue 4",
)
CLIP_UNREADABLE = describe(
    "clip-unreadable",
    Severity.ERROR,
    why="A file without a video stream that can be decoded.",
    source="design, section 4",
)
CLIP_TRUNCATED = describe(
    "clip-truncated",
    Severity.ERROR,
    why="A file that ends before its own index says: what is missing would be trained as silence.",
    source="executed: the upstream trainer stops at such a clip after encoding those before it",
)
CLIP_SHORT = describe(
    "clip-short",
    Severity.ERROR,
    why="A clip of fewer frames than a sample has.",
    source="zai-org/CogVideo finetune/datasets/utils.py:130-146 repeats the last frame silently",
)
CAPTION_EMPTY = describe(
    "caption-empty",
    Severity.WARNING,
    why="An empty caption teaches nothing about the clip; use data.caption_dropout for that.",
    source="design, section 4",
)
