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
