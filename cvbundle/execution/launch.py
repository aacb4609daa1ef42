"""Run a bundle: verify it, compare the packages, and execute its `launch.sh`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from attrs import frozen

from cvbundle.bundle import layout
from cvbundle.bundle.environment import Drift, drift
from cvbundle.bundle.places import bundle_runs
from cvbundle.bundle.requirements import read_requirements
from cvbundle.bundle.runs import Choice, Run, list_runs, record_failure, require_run
from cvbundle.bundle.settings import read_spec
from cvbundle.bundle.verify import require_verified
from cvbundle.execution.environments import Say, require_venv, venv_of
from cvbundle.execution.foreign_code import foreign_code as foreign_code
from cvbundle.execution.foreign_code import (
    require_own_code,
    require_own_files,
    require_own_packages,
)
from cvbundle.execution.readiness import require_files, require_places
from cvbundle.problems import UserError
from cvbundle.processes.children import die_with_parent
from cvbundle.processes.interpreters import safe_environment
from cvbundle.processes.killed import OomKills, killed_by


@frozen
class Launch:
    """What a run is about to execute."""

    bundle: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """What is set beyond the environment of this process."""
    drift: tuple[Drift, ...]
    finished: Run | None
    """The newest run, if it is complete and no other was asked for: nothing is to be done."""


@frozen
class Outcome:
    """How a trainer ended, and the run that it left."""

    code: int
    run: Run | None
    """The run that it trained; None where it ended before it had one."""
    failure: str | None = None
    """What it couldn't say itself, as a signal has killed it."""


def plan_launch(
    bundle: Path,
    *,
    choice: Choice = "auto",
    num_processes: int | None = None,
    num_machines: int | None = None,
    allow_drift: bool = False,
    trust: bool = False,
    venv: bool = False,
    dry: bool = False,
    say: Say = lambda _: None,
) -> Launch:
    """Check a bundle and say how it is run.

    Args:
        bundle: the bundle's folder.
        choice: which run to go on with.
        num_processes: how many processes train; as many as the bundle says if None.
        num_machines: how many machines they are on; as many as the spec said if None.
        allow_drift: run with other package versions than the bundle's.
        trust: run code that this installation would not write.
        venv: run in an environment of the bundle's own packages, which is made if need be.
        dry: make nothing, and look at the weights and clips, which else the trainer does.
        say: hears what takes long.

    Raises:
        UserError: it isn't whole, comes from elsewhere, or the packages differ.
    """
    require_verified(bundle)
    if choice == "resume":
        require_run(bundle_runs(bundle))
    spec = read_spec(bundle)
    if not trust:
        require_own_code(bundle, spec)
        require_own_files(bundle, spec)
        require_own_packages(bundle, spec)
    flags = () if choice == "auto" else (f"--{choice}",)
    command = (str(bundle / layout.LAUNCH), *flags)
    finished = _finished_run(bundle) if choice != "fresh" else None
    if finished is not None and not dry:
        return Launch(bundle, command, {}, (), finished)
    require_places(bundle)
    if dry:
        require_files(bundle)
    environment = {"CVBUNDLE_VERIFIED": "1"}
    found: tuple[Drift, ...] = ()
    if venv:
        environment |= _own_packages(bundle, say, dry=dry)
    else:
        environment["PYTHON"] = sys.executable
        found = _drift(bundle, allowed=allow_drift)
    if num_processes is not None:
        environment["CVBUNDLE_NUM_PROCESSES"] = str(num_processes)
    if num_machines is not None:
        environment["CVBUNDLE_NUM_MACHINES"] = str(num_machines)
    return Launch(bundle, command, environment, found, finished)


def _own_packages(bundle: Path, say: Say, *, dry: bool) -> dict[str, str]:
    """What has `launch.sh` use the environment of a bundle's lock."""
    venv = venv_of(read_requirements(bundle))
    if venv.exists or not dry:
        require_venv(venv, say)
    else:
        say(f"{venv.folder} is not there yet: a run makes it")
    # Packages on our own path would come before the environment's.
    return {"PYTHON": str(venv.python), "PYTHONPATH": ""}


def _drift(bundle: Path, *, allowed: bool) -> tuple[Drift, ...]:
    """Where our own packages differ from a bundle's lock."""
    found = drift(read_requirements(bundle))
    if found and not allowed:
        raise UserError(
            f"the installed packages differ from the bundle's: {'; '.join(map(str, found))}: "
            "--venv runs in an environment of the bundle's, --allow-drift as it is, and records it"
        )
    return found


def execute(launch: Launch) -> Outcome:
    """Run `launch.sh` to its end; signals go on to it, and it dies with this process.

    The code is 0, 3 where the training failed, or 130 where it was interrupted.
    """
    folder = bundle_runs(launch.bundle)
    before = {run.folder: _attempts(run) for run in list_runs(folder)}
    began, kills = datetime.now(UTC), OomKills()
    process = subprocess.Popen(
        ["bash", *launch.command],
        env=safe_environment() | dict(launch.environment),
        preexec_fn=die_with_parent,
    )

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    def leave(number: int, _: FrameType | None) -> None:
        """The terminal sends Ctrl-C to the trainer itself."""

    kept = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGINT: signal.signal(signal.SIGINT, leave if os.isatty(0) else forward),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    failure = None
    killer = -code if code < 0 else code - 128
    if killer in (signal.SIGTERM, signal.SIGINT):
        # Also before the trainer listens to it.
        code = 130
    elif killer > 0:
        failure = f"the trainer {killed_by(killer, kills)}"
        record_failure(folder, failure, since=began)
    runs = list_runs(folder)
    trained = runs and (code == 0 or _attempts(runs[-1]) != before.get(runs[-1].folder))
    return Outcome(code if code in (0, 130) else 3, runs[-1] if trained else None, failure)


def _attempts(run: Run) -> int:
    return len(run.record.get("attempts", ()))


def _finished_run(bundle: Path) -> Run | None:
    runs = list_runs(bundle_runs(bundle))
    return runs[-1] if runs and runs[-1].complete else None


def result_files(run: Run) -> Iterator[Path]:
    """What a finished run made: its weights, then the videos of its last validation."""
    result = run.folder / str(run.record.get("result", ""))
    yield from sorted(result.glob("*.safetensors"))
    samples = sorted((run.folder / layout.RUN_SAMPLES).glob("*.mp4"))
    if samples:
        last = samples[-1].name.rsplit("-", 1)[0]
        yield from (path for path in samples if path.name.startswith(last))
