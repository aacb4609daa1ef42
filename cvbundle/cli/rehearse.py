"""`cvbundle rehearse`."""

import json

import attrs
import click

from cvbundle.bundle.store import find_bundle
from cvbundle.cli._echo import echo
from cvbundle.cli._where import Text
from cvbundle.execution.rehearsal import Rehearsal, RehearsedPhase, rehearse_bundle
from cvbundle.model.memory import in_gib
from cvbundle.model.time import render_seconds, step_seconds
from cvbundle.spec.tables.gpus import GPUS

_OTHERWISE = "h100"
"""The GPU if neither the command nor the bundle names one."""

SECTION = "Runs"


@click.command("rehearse")
@click.argument("bundle", type=Text())
@click.option("--gpu", "name", type=click.Choice(tuple(GPUS)), help="Else the bundle's, or h100.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: str, name: str | None, as_json: bool) -> None:
    """Run BUNDLE's phases on tensors without memory: what a device would hold, and compute.

    It is the trainer's own code, for one step, one checkpoint and one validation at the real size.
    Needs no GPU, no weights and no clips.
    """
    opened = find_bundle(bundle)
    spec = opened.spec
    gpu = GPUS[name or spec.launch.gpu or _OTHERWISE]
    rehearsal = rehearse_bundle(opened, gpu)
    seconds = step_seconds(rehearsal.step_flops, gpu, spec.training.mixed_precision)
    if as_json:
        data = attrs.asdict(rehearsal)
        echo(json.dumps({**data, "peak": rehearsal.peak, "gpu": gpu.name, "seconds": seconds}))
        return
    for line in _lines(rehearsal):
        echo(line)
    took = "" if seconds is None else f", {render_seconds(seconds)} on {gpu.title}"
    echo(f"a step: {rehearsal.step_flops / 1e12:,.4g} TFLOP{took}")
    echo(f"trained: {rehearsal.trained:,} parameters")


def _lines(rehearsal: Rehearsal) -> list[str]:
    width = max(len(phase.name) for phase in rehearsal.phases)
    return [
        f"{phase.name.replace('_', ' '):<{width}}  {in_gib(phase.bytes):>9}  {_parts(phase)}"
        f"{'  <- peak' if phase.bytes == rehearsal.peak else ''}"
        for phase in rehearsal.phases
    ]


def _parts(phase: RehearsedPhase) -> str:
    besides = {"pinned host memory": phase.host, "disk": phase.disk}
    text = ", ".join(f"{kind} {in_gib(size)}" for kind, size in phase.of.items() if size)
    return "; ".join(
        (text, *(f"{in_gib(size)} of {what}" for what, size in besides.items() if size))
    )
