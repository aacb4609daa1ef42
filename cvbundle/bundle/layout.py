"""Where everything stands in a bundle and in a run of it, and what may stand there."""

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
"""What the hub's cache held of the model when the bundle was compiled here."""
SIGNATURE = "local/SHA256SUMS.sig"
STATEMENT = "local/provenance.intoto.json"
LOCAL_DATA = "local/data"
LOCAL_MODEL = "local/model"
"""Where the clips and the model lie in an archive, and in what is unpacked from it."""
RUNS = "runs"

NOT_HASHED = (LOCAL, RUNS)
"""Folders of a bundle that its digest says nothing about."""

REQUIRED = (ACCELERATE, CONFIG, DATASET, LAUNCH, MODEL, README, REQUIREMENTS)
"""Files that every bundle has, beside its sums and its code."""

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
    """Whether a bundle can have a file of this path that its digest covers; not `SHA256SUMS`."""
    return (
        name in REQUIRED
        or name == SKIPPED
        or _SOURCE.fullmatch(name) is not None
        or _IMAGE.fullmatch(name) is not None
    )


def is_run_name(name: str) -> bool:
    """Whether a folder of this name below `runs/` is a run."""
    return _RUN.fullmatch(name) is not None


def is_beside(name: str) -> bool:
    """Whether `local/` or `runs/` can have this: its path in the bundle, of two parts.

    Hidden ones are files that are being written, or that a killed process left.
    """
    folder, _, inner = name.partition("/")
    return inner.startswith(".") or (is_run_name(inner) if folder == RUNS else name in _LOCAL)
