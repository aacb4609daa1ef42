"""From start to the first step with a warm cache, against importing the libraries that it needs.

`python -m benchmarks.start [ROUNDS]` takes the two in turn and prints the median of their ratios;
wanted is at most 1.3. The imports are compiled already: a fresh installation pays that once.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import compile_file

_IMPORTS = "import torch, accelerate, peft; from diffusers import CogVideoXTransformer3DModel"
_SETTINGS = (
    "training.steps=1",
    "checkpointing.steps=1",
    "validation.steps=100",
    "lr_scheduler.warmup_steps=0",
    "tracking.report_to=[]",
)


def main(rounds: int) -> None:
    """Print the seconds of both and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = write_demo(folder / "demo", "cogvideox-2b", "lora").spec
        bundle = compile_file(spec, folder / "bundles", settings=_SETTINGS).only.bundle
        places = {"CVBUNDLE_CACHE": str(folder / "cache"), "PYTHON": sys.executable}
        environment = {**os.environ, **places}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _to_the_first_step(bundle.folder, environment)
        pairs = []
        for _ in range(rounds):
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", _IMPORTS], env=environment, check=True)
            imports = time.monotonic() - began
            pairs.append((_to_the_first_step(bundle.folder, environment), imports))
    ours, imports = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    print(f"first step after {ours:.2f} s, imports {imports:.2f} s, median ratio {ratio:.2f}")


def _to_the_first_step(bundle: Path, environment: dict[str, str]) -> float:
    """Seconds until the only step of a new run is in its metrics."""
    known = set((bundle / "runs").iterdir())
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", bundle / "launch.sh", "--fresh"], env=environment, stderr=subprocess.DEVNULL
    )
    spent = 0.0
    while process.poll() is None and not spent:
        for run in set((bundle / "runs").iterdir()) - known:
            metrics = run / "metrics.jsonl"
            if metrics.is_file() and metrics.stat().st_size:
                spent = time.monotonic() - began
        time.sleep(0.005)
    assert process.wait() == 0
    return spent


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["5"])[0]))
