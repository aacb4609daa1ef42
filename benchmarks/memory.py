"""Peak memory of a run beside what its largest phase must hold.

`python -m benchmarks.memory` trains a model whose weights outweigh everything else, adapter and all
weights, twice each: to a checkpoint, and on from it to the end with its samples and its export.
What must be held are weights, gradients and optimizer state in their types; wanted is that a run
stays below the interpreter with its libraries and 1.25 times that.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from diffusers import CogVideoXTransformer3DModel

from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import compile_file
from cvbundle.spec.schema import TrainingType

_LAYERS, _HEADS = 10, 12
_MIB = 1 << 20
_IMPORTS = "import torch, accelerate, peft, safetensors; from diffusers import CogVideoXPipeline"
_SETTINGS = (
    "training.steps=2",
    "training.batch_size=1",
    "training.gradient_checkpointing=true",
    "checkpointing.steps=1",
    "validation.steps=2",
    "validation.num_inference_steps=1",
    "lr_scheduler.warmup_steps=0",
    "tracking.report_to=[]",
)


def main() -> int:
    """Print peak, libraries and what must be held, in MiB; 1 where a run takes more than wanted."""
    libraries = _peak([sys.executable, "-c", f"{_IMPORTS}; import time; time.sleep(0.5)"], {})
    missed = 0
    kinds: tuple[TrainingType, ...] = ("lora", "sft")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            spec = write_demo(folder / "demo", "cogvideox-2b", kind).spec
            parameters = _put_transformer(folder / "demo/model/transformer")
            bundle = compile_file(spec, folder / "bundles", settings=_SETTINGS).only.bundle
            # In fp32: weights, and for all of them gradients and two moments.
            needed = parameters * (4 if kind == "lora" else 16)
            places = {"CVBUNDLE_CACHE": str(folder / "cache"), "PYTHON": sys.executable}
            command = ["bash", str(bundle.folder / "launch.sh")]
            first = _peak(
                command, places, until=bundle.folder / "runs/0001/checkpoints/step-00000001"
            )
            again = _peak(command, places)
        allowed = libraries + 1.25 * needed
        peak = max(first, again)
        missed |= peak > allowed
        print(
            f"{kind}: peak {peak / _MIB:.0f} MiB (from the start {first / _MIB:.0f}, after a stop "
            f"{again / _MIB:.0f}), libraries {libraries / _MIB:.0f}, needed {needed / _MIB:.0f}: "
            f"{(peak - libraries) / needed:.2f} of it (wanted at most 1.25)"
        )
    return missed


def _put_transformer(folder: Path) -> int:
    """A transformer that is large beside everything else; its number of parameters."""
    config = dict(CogVideoXTransformer3DModel.load_config(folder))
    config |= {"num_layers": _LAYERS, "num_attention_heads": _HEADS}
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel.from_config(config)
    transformer.save_pretrained(folder)
    return sum(parameter.numel() for parameter in transformer.parameters())


def _peak(command: list[str], places: dict[str, str], until: Path | None = None) -> int:
    """The most bytes that a process held; it is stopped where a path has appeared."""
    environment = {**os.environ, **places, "CVBUNDLE_DEVICE": "cpu"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    peak = 0
    while process.poll() is None:
        peak = max(peak, _held(status))
        if until is not None and until.exists():
            process.terminate()
        time.sleep(0.005)
    assert process.returncode in (0, 130), process.returncode
    return peak


def _held(status: Path) -> int:
    """Bytes of a process that no file stands behind: what is mapped from one can be let go."""
    try:
        lines = status.read_text().splitlines()
    except ProcessLookupError:
        return 0
    kept = [int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
    return 1024 * sum(kept)


if __name__ == "__main__":
    sys.exit(main())
