"""How long `cvbundle check` of a 50-line spec takes, beside importing its libraries, as processes.

`python -m benchmarks.check_start [PAIRS]`: runs of `cvbundle check` and of a Python that imports
attrs, cattrs, yaml and click take turns, so that whatever else the machine does meets both. What
counts is the median of the ratios. The target is at most 1.5.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = 1.5
LIBRARIES = "import attrs, cattrs, yaml, click"
SPEC = """\
# A LoRA on CogVideoX-5b.
cvbundle: 1
name: benchmark

model:
  path: THUDM/CogVideoX-5b
  revision: 8fc5b281006c82b82d34fd2543d2f0ebb4e7e321

data:
  root: data
  resolution: 49x480x720
  fit: crop
  frame_sampling: uniform
  short_clips: error
  caption_prefix: "sks "
  caption_dropout: 0.1

training:
  type: lora
  seed: 42
  steps: 1000
  batch_size: 1
  gradient_accumulation_steps: 4
  mixed_precision: bf16
  learning_rate: 1e-4
  gradient_checkpointing: true

lora:
  rank: 128
  alpha: 64
  target_modules: [to_q, to_k, to_v, to_out.0]

optimizer:
  name: adamw
  betas: [0.9, 0.95]
  weight_decay: 1e-4

lr_scheduler:
  name: cosine
  warmup_steps: 100

checkpointing:
  steps: 200

validation:
  steps: 400
  prompts:
    - A cat walks through the snow.

launch:
  strategy: single
  gpu_memory_gib: 24
"""


def main(pairs: int = 30) -> None:
    """Time the pairs and print the median of their ratios; exit 1 where it misses the target."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder)
        check = [
            str(Path(sys.executable).with_name("cvbundle")),
            "check",
            str(folder / "spec.yaml"),
        ]
        libraries = [sys.executable, "-c", LIBRARIES]
        for command in (check, libraries):
            _seconds(command, environment)  # fills the bytecode cache
        times = [
            (_seconds(check, environment), _seconds(libraries, environment)) for _ in range(pairs)
        ]
    ratio = statistics.median(one / other for one, other in times)
    checking, importing = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"check {checking * 1000:.0f} ms, its libraries {importing * 1000:.0f} ms: {ratio:.2f}")
    if ratio > TARGET:
        sys.exit(f"more than {TARGET}")


def _write(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "clip.mp4").write_bytes(b"")
    (folder / "data" / "videos.txt").write_text("clip.mp4\n")
    (folder / "data" / "prompts.txt").write_text("A cat.\n")
    (folder / "spec.yaml").write_text(SPEC)


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
