"""The paths in a bundle and in a run, and which others are allowed there."""

import re

SUMS = "SHA256SUMS"
CONFIG = "config.json"
DATASET = "dataset.jsonl"
SKIPPED = "skipped.jsonl"
MODEL = "model.json"
REQUIREMENTS = "requirements.txt"
ACCELERATE = "accelerate.yaml"
LAUNCH = "launch.sh"
CODE = "code"
VALIDATION = "validation"
README = "README.md"

LOCAL = "local"
PATHS = "local/paths.json"
PROVENANCE = "local/provenance.json"
BLOBS = "local/blobs.json"
"""The blob names of the model in the hub's cache when the bundle was compiled here."""
SIGNATURE = "local/SHA256SUMS.sig"
STATEMENT = "local/provenance.intoto.json"
LOCAL_DATA = "local/data"
LOCAL_MODEL = "local/model"
"""The clips and the model in an archive, and in a bundle unpacked from it."""
RUNS = "runs"

NOT_HASHED = (LOCAL, RUNS)
"""Folders of a bundle that its digest doesn't cover."""

REQUIRED = (ACCELERATE, CONFIG, DATASET, LAUNCH, MODEL, README, REQUIREMENTS)
"""Files that every bundle has, besides `SHA256SUMS` and its code."""

_SOURCE = re.compile(rf"{CODE}/[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*\.py")
_IMAGE = re.compile(rf"{VALIDATION}/[0-9]{{2,}}(\.[a-z0-9]+)?")
_LOCAL = frozenset((PATHS, PROVENANCE, BLOBS, SIGNATURE, STATEMENT, LOCAL_DATA, LOCAL_MODEL))
_RUN = re.compile(r"[0-9]{4,9}")

NAME_DIGITS = 16
"""Hex digits of the digest in a bundle's name."""

RUN_RECORD = "run.json"
RUN_METRICS = "metrics.jsonl"
RUN_EVALUATION = "evaluation.jsonl"
RUN_LOG = "log.txt"
RUN_LOCK = ".lock"
RUN_CHECKPOINTS = "checkpoints"
RUN_SAMPLES = "samples"
RUN_ADAPTER = "adapter"
RUN_TRANSFORMER = "transformer"
RUN_TRACKERS = "trackers"

ADAPTER_WEIGHTS = "pytorch_lora_weights.safetensors"
"""What diffusers' `load_lora_weights` looks for."""


def is_hashed_file(name: str) -> bool:
    """Whether this can be the path of a file that a bundle's digest covers; not `SHA256SUMS`."""
    return (
        name in REQUIRED
        or name == SKIPPED
        or _SOURCE.fullmatch(name) is not None
        or _IMAGE.fullmatch(name) is not None
    )


def is_run_name(name: str) -> bool:
    """Whether this is the name of a run's folder below `runs/`."""
    return _RUN.fullmatch(name) is not None


def is_local_or_run(name: str) -> bool:
    """Whether `local/` or `runs/` can contain this, a path in the bundle with two parts.

    Hidden files are being written, or were left by a killed process.
    """
    folder, _, inner = name.partition("/")
    return inner.startswith(".") or (is_run_name(inner) if folder == RUNS else name in _LOCAL)
