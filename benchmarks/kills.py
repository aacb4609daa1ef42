"""Kill runs with SIGKILL at moments drawn by chance; each must end as if nothing had happened.

`python -m benchmarks.kills [NUMBER] [MODEL]` kills an adapter of a text-to-video model and a whole
image-to-video model, each so many times. A run is killed up to five times before it may end.
"""

import sys
import tempfile
from pathlib import Path

from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import compile_file
from cvbundle.spec.schema import TrainingType
from tests.training.killing import SETTINGS, chains, moments, survive, time_run

_MODELS: dict[str, TrainingType] = {"cogvideox-2b": "lora", "cogvideox-5b-i2v": "sft"}
_IN_A_ROW = 5


def main(kills: int, only: str | None) -> int:
    """Print how many runs ended with the same bytes, and what they were killed in."""
    failures = 0
    for model, kind in _MODELS.items():
        if only not in (None, model):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            spec = write_demo(folder / "demo", model, kind).spec
            bundle = compile_file(spec, folder / "bundles", settings=SETTINGS).only.bundle
            whole, seconds = time_run(bundle.folder, folder / "cache")
            survivals = [
                survive(
                    bundle.folder,
                    folder / f"cache-{number}",
                    kills=count,
                    whole=whole,
                    seconds=seconds,
                    seed=number,
                )
                for number, count in enumerate(chains(kills, _IN_A_ROW))
            ]
        same = sum(len(survival.kills) for survival in survivals if survival.same)
        runs = sum(survival.same for survival in survivals)
        print(
            f"{model} {kind}: {same} of {kills} kills, {runs} of {len(survivals)} runs the same "
            f"(one takes {seconds:.1f} s)"
        )
        for doing, count in moments(survivals).most_common():
            print(f"  {count:3d} while {doing}")
        failures += same != kills
    return min(failures, 1)


if __name__ == "__main__":
    _, number, *models = [*sys.argv, "10"][: max(2, len(sys.argv))]
    sys.exit(main(int(number), models[0] if models else None))
