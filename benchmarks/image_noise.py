"""What noise on the conditioning image costs: the encoder half of the VAE stays, and works.

`OMP_NUM_THREADS=1 python -m benchmarks.image_noise [ROUNDS]` trains an image-to-video adapter with
a VAE of the real width (random weights; the tiny one is no measure), with noise on the image and
without. Prints how many MiB the VAE takes in each, whole and its half, and the median step of both
with the median of their ratios.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch
from diffusers import AutoencoderKLCogVideoX

from benchmarks.step import trained_steps
from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import compile_file
from cvbundle.training import components
from cvbundle.training.start import start

_SETTINGS = (
    "training.steps=1000000",
    "training.batch_size=1",
    "checkpointing.steps=500000",
    "validation.steps=1000000",
    "tracking.report_to=[]",
)
_STEPS = 5
_MIB = 1 << 20


def main(rounds: int) -> None:
    """Print memory and step time with noise and without."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as runs:
        folder = Path(name)
        os.environ["CVBUNDLE_CACHE"] = str(folder / "cache")
        spec = write_demo(folder / "demo", "cogvideox-5b-i2v", "lora").spec
        model = folder / "demo/model"
        _put_vae(model / "vae")
        whole, half = (_vae_bytes(model, decoder=decoder) / _MIB for decoder in (True, False))
        print(
            f"VAE in fp32: whole {whole:.0f} MiB, encoder half {half:.0f} MiB, without noise none"
        )
        noisy = _steps(runs, spec, "training.image_noise={mean: -3.0, std: 0.5}")
        clean = _steps(runs, spec, "training.image_noise=null")
        pairs = [
            (_seconds_each(noisy, _STEPS), _seconds_each(clean, _STEPS)) for _ in range(rounds)
        ]
    with_noise, without = (1000 * median(column) for column in zip(*pairs, strict=True))
    ratio = median(one / other for one, other in pairs)
    print(f"step: noise {with_noise:.1f} ms, none {without:.1f} ms, median ratio {ratio:.2f}")


def _put_vae(folder: Path) -> None:
    """The VAE's weights as wide as the real one's."""
    config = dict(AutoencoderKLCogVideoX.load_config(folder))
    config |= {"block_out_channels": (128, 256, 256, 512), "layers_per_block": 3}
    config |= {"norm_num_groups": 32}
    torch.manual_seed(0)
    AutoencoderKLCogVideoX.from_config(config).save_pretrained(folder)


def _vae_bytes(model: Path, *, decoder: bool) -> int:
    vae = components.load_vae(
        model, torch.float32, torch.device("cpu"), tiling=True, slicing=True, decoder=decoder
    )
    return sum(parameter.numel() * parameter.element_size() for parameter in vae.parameters())


def _steps(runs: ExitStack, spec: Path, setting: str) -> Iterator[None]:
    """The steps of the demo with one more setting, after the first."""
    bundles = spec.parent.parent / "bundles"
    bundle = compile_file(spec, bundles, settings=(*_SETTINGS, setting)).only.bundle
    _, _, steps = trained_steps(runs.enter_context(start(bundle.folder, "fresh", "cpu", 1)))
    next(steps)
    return steps


def _seconds_each(steps: Iterator[None], number: int) -> float:
    """Seconds of the processor for each of so many steps, in all threads."""
    began = time.process_time()
    for _ in range(number):
        next(steps)
    return (time.process_time() - began) / number


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["7"])[0]))
