"""Runs that are killed with SIGKILL at moments drawn by chance, and go on until they are done."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.runs import Choice
from cvbundle.training.train import train
from tests.training.conftest import result

SETTINGS = (
    "training.steps=10",
    "checkpointing.steps=2",
    "checkpointing.limit=1",
    "validation.steps=4",
    "tracking.report_to=[]",
)
"""A short run with everything in it that can be killed: checkpoints, pruning, samples, export."""


@frozen
class Kill:
    """A moment at which a run was killed."""

    seconds: float
    """Since the process began."""
    doing: str
    """What the run's files say it was doing."""


@frozen
class Survival:
    """What became of a run that was killed again and again."""

    kills: tuple[Kill, ...]
    same: bool
    """Whether its result and its metrics have the bytes of a run that nobody killed."""


def survive(
    bundle: Path, cache: Path, *, kills: int, whole: Path, seconds: float, seed: int
) -> Survival:
    """Begin a run with an empty cache, kill it so many times, let it end, and compare.

    `whole` is a run that nobody killed, `seconds` what it took.
    """
    os.environ["CVBUNDLE_CACHE"] = str(cache)
    chance = random.Random(seed)
    done: list[Kill] = []
    choice: Choice = "fresh"
    before = set(_runs(bundle))
    while len(done) < kills:
        process = _start(bundle, choice)
        moment = chance.uniform(0, seconds / 2)
        if _ends_within(process, moment):
            # Done already: begin another one to kill.
            choice, before = "fresh", set(_runs(bundle))
            continue
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        begun = set(_runs(bundle)) - before
        done.append(Kill(round(moment, 3), _doing(max(begun)) if begun else "starting"))
        choice = "auto" if begun else "fresh"
    process = _start(bundle, choice)
    _, status = os.waitpid(process, 0)
    last = max(_runs(bundle))
    return Survival(tuple(done), status == 0 and _content(last) == _content(whole))


def time_run(bundle: Path, cache: Path) -> tuple[Path, float]:
    """A run that nobody kills, and the seconds it took from an empty cache."""
    os.environ["CVBUNDLE_CACHE"] = str(cache)
    began = time.monotonic()
    _, status = os.waitpid(_start(bundle, "fresh"), 0)
    assert status == 0, "a run that nobody kills has failed"
    return max(_runs(bundle)), time.monotonic() - began


def moments(survivals: list[Survival]) -> Counter[str]:
    """How often the runs were killed in doing what."""
    return Counter(kill.doing for survival in survivals for kill in survival.kills)


def _runs(bundle: Path) -> list[Path]:
    return [path for path in (bundle / "runs").iterdir() if path.name.isdigit()]


def _start(bundle: Path, choice: Choice) -> int:
    """The trainer in a process of its own, without waiting for torch to be imported again."""
    process = os.fork()
    if process:
        return process
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    code = 1
    try:
        train(bundle, choice, "cpu", 1, threading.Event())
        code = 0
    finally:
        os._exit(code)


def _ends_within(process: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        time.sleep(0.001)
    return False


def _doing(run: Path) -> str:
    names = {path.name for path in run.rglob("*")}
    if any(name.startswith(".step-") and name.endswith(".removed") for name in names):
        return "removing a checkpoint"
    if any(name.startswith(".step-") and ".mp4" in name for name in names):
        return "writing a sample"
    if any(name.startswith(".step-") for name in names):
        return "writing a checkpoint"
    if any(name.startswith((".adapter", ".transformer")) for name in names):
        return "exporting"
    if "evaluation.jsonl" not in names:
        return "encoding or loading"
    return "training or validating"


def _content(run: Path) -> dict[str, object]:
    logs = ("metrics.jsonl", "evaluation.jsonl")
    samples = sorted((run / "samples").glob("*.mp4"))
    return {
        **result(run),
        **{name: (run / name).read_bytes() for name in logs},
        **{path.name: path.read_bytes() for path in samples},
    }


def chains(kills: int, length: int) -> Iterator[int]:
    """So many kills in runs that are killed at most `length` times each."""
    while kills > 0:
        yield min(kills, length)
        kills -= length
