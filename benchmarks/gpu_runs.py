"""Runs of a bundle that are stopped, killed and gone on with, and what they take of a GPU."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.layout import RUN_CHECKPOINTS, RUN_METRICS
from cvbundle.bundle.run import Run
from cvbundle.processes.children import die_with_parent
from cvbundle.processes.interpreters import safe_environment

_LOOK_SECONDS = 0.002
_MEMORY_SECONDS = 0.2


@frozen(kw_only=True)
class Attempt:
    """One start of the trainer, to its end."""

    code: int
    run: Run | None
    said: str
    """The last line that it wrote."""
    held: int | None
    """The most bytes of all GPUs in use at once, beyond what was before; None where none is."""

    @property
    def seconds_a_step(self) -> float | None:
        """As the run has recorded it; else of all steps, the first among them."""
        if self.run is None or "train" not in self.run.record.phases:
            return None
        if self.run.record.seconds_a_step is not None:
            return self.run.record.seconds_a_step
        steps = len(metrics(self.run).splitlines())
        return self.run.record.phases["train"] / steps if steps else None

    def reserved(self, phase: str) -> int | None:
        """The most bytes that torch had of a device in a phase; None where it isn't recorded."""
        peaks = self.run.record.peak_memory if self.run else {}
        return peaks.get(phase, {}).get("reserved")


@frozen(kw_only=True)
class Trainer:
    """Starts a bundle's own `launch.sh`."""

    bundle: Path
    device: str
    """`cuda` or `cpu`."""
    cache: Path
    log: Path

    def train(
        self,
        *,
        fresh: bool = False,
        until: int | None = None,
        number: signal.Signals = signal.SIGTERM,
    ) -> Attempt:
        """Train to the end, or send a signal once the checkpoint of step `until` is there."""
        before = {run.folder for run in self._runs()}
        held_before = gpu_bytes() if self.device == "cuda" else None
        places = {
            "CVBUNDLE_CACHE": str(self.cache),
            "CVBUNDLE_DEVICE": self.device,
            "PYTHON": sys.executable,
        }
        command = ["bash", str(self.bundle / "launch.sh"), *(["--fresh"] if fresh else [])]
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                env=safe_environment() | places,
                preexec_fn=die_with_parent,
                stdout=log,
                stderr=log,
            )
            held = self._watch(process, before if fresh else set(), until, number)
        runs = self._runs()
        lines = self.log.read_text("utf-8", "replace").replace("\r", "\n").strip().splitlines()
        return Attempt(
            code=process.returncode,
            run=runs[-1] if runs else None,
            said=lines[-1] if lines else "nothing was said",
            held=None if held_before is None or held is None else held - held_before,
        )

    def _watch(
        self,
        process: subprocess.Popen[bytes],
        known: set[Path],
        until: int | None,
        number: signal.Signals,
    ) -> int | None:
        """Wait for the end, signal in time, and look how much memory is in use meanwhile."""
        sent, looked = until is None, 0.0
        held: int | None = None
        while process.poll() is None:
            now = time.monotonic()
            if self.device == "cuda" and now - looked > _MEMORY_SECONDS:
                looked = now
                held = max(held or 0, gpu_bytes() or 0)
            if not sent and until is not None and self._has_checkpoint(known, until):
                os.kill(process.pid, number)
                sent = True
            time.sleep(_LOOK_SECONDS)
        return held

    def _has_checkpoint(self, known: set[Path], step: int) -> bool:
        runs = [run.folder for run in self._runs() if run.folder not in known]
        return bool(runs) and (runs[-1] / RUN_CHECKPOINTS / f"step-{step:08d}").is_dir()

    def _runs(self) -> tuple[Run, ...]:
        return Bundle(self.bundle).runs


def gpu_bytes() -> int | None:
    """Memory in use on all GPUs of this machine; None where nvidia-smi can't say."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return sum(int(line) << 20 for line in done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def metrics(run: Run) -> bytes:
    """`metrics.jsonl` of a run."""
    path = run.folder / RUN_METRICS
    return path.read_bytes() if path.is_file() else b""


def result(run: Run) -> tuple[Mapping[str, Any], bytes]:
    """What two runs of the same bytes have alike: digests of the result, and all steps."""
    record = json.loads((run.folder / "run.json").read_bytes())
    return record.get("digests", {}), metrics(run)
