"""`python -m cvbundle.training.rehearse`: a bundle's phases on fake tensors of their real size.

The code that runs is the trainer's own. Fake tensors are on the CPU, for which every build of torch
can run autograd; where CUDA would do something else, that is done here: its autocast keeps
LayerNorms in fp32, and its flash attention sums the queries' gradients in a buffer of its own.
"""

import argparse
import json
import sys
from pathlib import Path

from attrs import asdict

from cvbundle.bundle.bundle import Bundle
from cvbundle.problems import UserError
from cvbundle.spec.schema import Spec
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.training import components
from cvbundle.training.cuda_autocast import cuda_autocast
from cvbundle.training.fake_run import FakeRun, Rehearsal
from cvbundle.training.live_bytes import LiveBytes, flash_splits


def rehearse(
    spec: Spec, architecture: Architecture, processors: int, *, whole: bool = True
) -> Rehearsal:
    """Encode, train one step, save a checkpoint and validate on fake tensors.

    Args:
        spec: the bundle's settings.
        architecture: of its base model.
        processors: the device's multiprocessors, which decide how much flash attention sums apart.
        whole: all phases; else a step and its checkpoint alone.

    Raises:
        UserError: the shapes or types of a phase don't fit.
    """
    splits = flash_splits(
        processors, spec.training.batch_size, architecture.transformer.num_attention_heads
    )
    with cuda_autocast():
        return FakeRun(spec, architecture, LiveBytes(splits)).run(whole=whole)


def main() -> int:
    """Print what a bundle's rehearsal found, as JSON; 1 with one sentence where it fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--processors", type=int, required=True)
    options = parser.parse_args()
    components.quiet()
    try:
        bundle = Bundle(options.bundle)
        rehearsal = rehearse(bundle.spec, bundle.model.architecture, options.processors)
    except UserError as error:
        sys.stdout.write(f"{json.dumps({'error': str(error)})}\n")
        return 1
    sys.stdout.write(f"{json.dumps(asdict(rehearsal))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
