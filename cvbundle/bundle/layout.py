"""Where everything stands in a bundle and in a run of it."""

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
RUNS = "runs"

NOT_HASHED = (LOCAL, RUNS)
"""Folders of a bundle that its digest says nothing about."""

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
