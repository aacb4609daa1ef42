"""Seconds a step that earlier runs in a store measured on a kind of device."""

import heapq
import math
import os
from collections.abc import Iterator
from pathlib import Path

from cattrs import BaseValidationError

from cvbundle.bundle.base_model import base_model
from cvbundle.bundle.layout import RUN_RECORD, RUNS, is_run_name
from cvbundle.bundle.runs import Run, read_run
from cvbundle.bundle.settings import read_spec
from cvbundle.bundle.store import list_bundles
from cvbundle.model.time import MeasuredStep, step_flops
from cvbundle.problems import UserError
from cvbundle.spec.tables.gpus import Gpu, reported_gpu

_NEWEST = 200
"""Records that are opened at most, so that a store of thousands costs no more than one of these."""
_ENOUGH = 16
"""Runs on the device whose bundles are read."""


def measured_steps(store: Path, gpu: Gpu) -> tuple[MeasuredStep, ...]:
    """What the newest runs inside a store's bundles measured on such a device, newest first.

    Runs that another `output.dir` has are not looked for.
    """
    found: list[MeasuredStep] = []
    for run in _newest(store):
        seconds = _seconds_on(run, gpu)
        measured = None if seconds is None else _measured(run, seconds)
        if measured is not None:
            found.append(measured)
        if len(found) == _ENOUGH:
            break
    return tuple(found)


def _newest(store: Path) -> Iterator[Run]:
    records = (record for bundle in list_bundles(store) for record in _records(bundle))
    for _, folder in heapq.nlargest(_NEWEST, records):
        yield read_run(Path(folder))


def _records(bundle: Path) -> Iterator[tuple[int, str]]:
    """When each run of a bundle last wrote its record, and its folder."""
    try:
        folders = [entry.path for entry in os.scandir(bundle / RUNS) if is_run_name(entry.name)]
    except OSError:
        return
    for folder in folders:
        try:
            yield Path(folder, RUN_RECORD).stat().st_mtime_ns, folder
        except OSError:
            continue


def _seconds_on(run: Run, gpu: Gpu) -> float | None:
    """Seconds of a step, where every attempt was on such a device."""
    attempts = run.record.get("attempts")
    if not isinstance(attempts, list) or not attempts:
        return None
    names = [each.get("device_name") if isinstance(each, dict) else None for each in attempts]
    seconds = run.record.get("seconds_a_step")
    if any(reported_gpu(str(name)) != gpu for name in names):
        return None
    if isinstance(seconds, int | float) and 0 < seconds < math.inf:
        return float(seconds)
    return None


def _measured(run: Run, seconds: float) -> MeasuredStep | None:
    """What is known of a run's step; None of a bundle that can't be read."""
    bundle = run.folder.parent.parent
    try:
        spec, architecture = read_spec(bundle), base_model(bundle).architecture
    except (OSError, UserError, BaseValidationError, ValueError, KeyError, TypeError):
        # Damaged, or of another version: an estimate does without it.
        return None
    return MeasuredStep(
        bundle=bundle.name,
        run=run.folder.name,
        seconds=seconds,
        flops=step_flops(spec, architecture),
        precision=spec.training.mixed_precision,
        deterministic=spec.training.deterministic,
        strategy=spec.launch.strategy,
    )
