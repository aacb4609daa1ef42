"""Seconds a step that earlier runs in a store measured on a kind of device."""

import contextlib
import heapq
import math
import os
from collections.abc import Iterator
from pathlib import Path

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import RUN_RECORD, RUNS, is_run_name
from cvbundle.bundle.run import Run
from cvbundle.bundle.store import list_bundles
from cvbundle.model.time import MeasuredStep, step_flops
from cvbundle.problems import UserError
from cvbundle.spec.tables.gpus import Gpu, reported_gpu

_NEWEST = 200
"""Run records to open at most: a store may have thousands."""
_ENOUGH = 16
"""Runs on the GPU whose bundles are read."""


def measured_steps(store: Path, gpu: Gpu) -> tuple[MeasuredStep, ...]:
    """The steps that the newest runs inside a store's bundles measured on a GPU, newest first.

    Runs in another `output.dir` are not searched. A run or bundle that is damaged, or of another
    version, is left out: an estimate can do without it.
    """
    measured: list[MeasuredStep] = []
    for run in _newest(store):
        with contextlib.suppress(UserError):
            seconds = _seconds_on(run, gpu)
            if seconds is not None:
                measured.append(_measured(run, seconds))
        if len(measured) == _ENOUGH:
            break
    return tuple(measured)


def _newest(store: Path) -> Iterator[Run]:
    records = (record for bundle in list_bundles(store) for record in _records(bundle))
    for _, folder in heapq.nlargest(_NEWEST, records):
        yield Run(Path(folder))


def _records(bundle: Bundle) -> Iterator[tuple[int, str]]:
    """When each run of a bundle last wrote its record, and its folder."""
    try:
        folders = [
            entry.path for entry in os.scandir(bundle.folder / RUNS) if is_run_name(entry.name)
        ]
    except OSError:
        return
    for folder in folders:
        try:
            yield Path(folder, RUN_RECORD).stat().st_mtime_ns, folder
        except OSError:
            continue


def _seconds_on(run: Run, gpu: Gpu) -> float | None:
    """Seconds a step, if every attempt was on this GPU."""
    seconds, attempts = run.record.seconds_a_step, run.attempts
    if not attempts or any(reported_gpu(str(each.device_name)) != gpu for each in attempts):
        return None
    return seconds if seconds is not None and 0 < seconds < math.inf else None


def _measured(run: Run, seconds: float) -> MeasuredStep:
    bundle = Bundle(run.folder.parent.parent)
    spec = bundle.spec
    return MeasuredStep(
        bundle=bundle.name,
        run=run.name,
        seconds=seconds,
        flops=step_flops(spec, bundle.model.architecture),
        precision=spec.training.mixed_precision,
        deterministic=spec.training.deterministic,
        strategy=spec.launch.strategy,
    )
