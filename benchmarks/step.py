"""A training step beside a bare loop of the same forward, backward, clip and optimizer step.

`OMP_NUM_THREADS=1 python -m benchmarks.step [ROUNDS]` trains two bundles, the smallest tiny model's
and a larger one's whose step takes at least 0.2 s. In each round ours makes some steps through
`run_steps` (loader, metrics, log, tracker and all), then the bare loop makes as many with batches
that it has ready. What is measured is the time of the processor, of all threads: a busy machine
changes little of it, and making samples counts as much as computing. What counts is the median of
the rounds' ratios; wanted is at most 1.03.
"""

import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from attrs import frozen
from diffusers import CogVideoXTransformer3DModel

from cvbundle.authoring.demo import write_demo
from cvbundle.compiler.build import compile_file
from cvbundle.training import components
from cvbundle.training.fill import fill_cache
from cvbundle.training.load import load_trainer
from cvbundle.training.loop import Trainer
from cvbundle.training.samples import SampleSource, sample_source
from cvbundle.training.start import Start, start
from cvbundle.training.steps import run_steps
from cvbundle.training.weights import make_trainable

_SETTINGS = (
    "training.steps=1000000",
    "checkpointing.steps=500000",
    "validation.steps=1000000",
    "data.num_workers=1",
)


@frozen(kw_only=True)
class Case:
    """A model and how many of its steps make a round."""

    name: str
    layers: int
    heads: int
    resolution: str
    steps: int
    target: float


CASES = (
    Case(name="smallest", layers=2, heads=2, resolution="9x64x96", steps=60, target=1.03),
    Case(name="larger", layers=8, heads=6, resolution="9x64x96", steps=10, target=1.03),
)


def main(rounds: int) -> int:
    """Print the step of both loops and their ratio, by model; 1 where a target is missed."""
    torch.set_num_threads(1)
    missed = 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            pairs = _measure(Path(name), case, rounds)
        ours, bare = (1000 * median(column) for column in zip(*pairs, strict=True))
        ratio = median(one / other for one, other in pairs)
        missed |= ratio > case.target
        print(
            f"{case.name}: ours {ours:.2f} ms, bare {bare:.2f} ms, median ratio {ratio:.3f} "
            f"(wanted at most {case.target})",
            flush=True,
        )
    return missed


def _measure(folder: Path, case: Case, rounds: int) -> list[tuple[float, float]]:
    """The seconds of a step, ours and bare, in each round."""
    os.environ["CVBUNDLE_CACHE"] = str(folder / "cache")
    spec = write_demo(folder / "demo", "cogvideox-2b", "lora").spec
    _put_transformer(folder / "demo/model/transformer", case)
    settings = (*_SETTINGS, f"data.resolution={case.resolution}")
    bundle = compile_file(spec, folder / "bundles", settings=settings).only.bundle
    with start(bundle.folder, "fresh", "cpu", 1) as begun:
        trainer, source, ours = trained_steps(begun)
        bare = _bare_steps(trainer, source)

        seconds_each(ours, bare, case.steps)
        return [seconds_each(ours, bare, case.steps) for _ in range(rounds)]


def trained_steps(begun: Start) -> tuple[Trainer, SampleSource, Iterator[None]]:
    """The steps of a run that never stops, with what they train and on which samples."""
    job, processes, outputs = begun.job, begun.processes, begun.outputs
    never = threading.Event()
    outputs.record.start()
    fill_cache(job, begun.encoder, processes, outputs, never)
    trainer = load_trainer(job, processes, begun.accelerator, outputs.reporter)
    source = sample_source(job, begun.encoder)
    return trainer, source, run_steps(trainer, source, begun.encoder, outputs, never)


def _put_transformer(folder: Path, case: Case) -> None:
    """The demo's transformer with as many layers and heads as the case wants."""
    config = dict(CogVideoXTransformer3DModel.load_config(folder))
    config |= {"num_layers": case.layers, "num_attention_heads": case.heads}
    torch.manual_seed(0)
    CogVideoXTransformer3DModel.from_config(config).save_pretrained(folder)


def seconds_each(ours: Iterator[None], bare: Iterator[None], steps: int) -> tuple[float, float]:
    """Seconds of the processor for a step of each, ours with all threads but the bare loop's."""
    whole, own = time.process_time(), time.thread_time()
    pairs = [(_seconds(ours), _seconds(bare)) for _ in range(steps)]
    others = (time.process_time() - whole) - (time.thread_time() - own)
    mine, theirs = (median(column) for column in zip(*pairs, strict=True))
    return mine + others / steps, theirs


def _seconds(steps: Iterator[None]) -> float:
    """What this thread takes for the next step."""
    began = time.thread_time()
    next(steps)
    return time.thread_time() - began


def _bare_steps(trainer: Trainer, source: SampleSource) -> Iterator[None]:
    """What anyone would write by hand, over batches that are there already."""
    job = trainer.job
    transformer = components.load_transformer(job.model_folder, torch.float32, torch.device("cpu"))
    trained = list(make_trainable(transformer, job.spec).values())
    transformer.train()
    optimizer = torch.optim.AdamW(trained, lr=job.spec.training.learning_rate, fused=True)
    size = job.spec.training.batch_size
    ready = [source.batch(range(n * size, n * size + size)) for n in range(8)]
    alphas = components.load_scheduler(job.model_folder).alphas_cumprod.float()
    for batch in itertools.cycle(ready):
        signal, noise = (
            table[batch.timesteps].view(-1, 1, 1, 1, 1)
            for table in (alphas.sqrt(), (1 - alphas).sqrt())
        )
        noisy = signal * batch.latents + noise * batch.noise
        velocity = transformer(
            hidden_states=noisy,
            encoder_hidden_states=batch.prompt,
            timestep=batch.timesteps,
            return_dict=False,
        )[0]
        target = signal * batch.noise - noise * batch.latents
        loss = torch.nn.functional.mse_loss(velocity, target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["15"])[0])))
