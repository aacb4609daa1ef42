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
from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.packages import Drift, drift
from cvbundle.bundle.run import Run
from cvbundle.bundle.runs import Choice, newest_run, record_failure
from cvbundle.bundle.verify import require_verified
from cvbundle.execution.environments import Notify, require_venv, venv_of
from cvbundle.execution.foreign_code import (
    require_own_code,
    require_own_files,
    require_own_packages,
)
from cvbundle.execution.private_code import BUNDLE, private_code
from cvbundle.execution.readiness import require_files, require_places
from cvbundle.problems import UserError
from cvbundle.processes.children import die_with_parent
from cvbundle.processes.interpreters import safe_environment
from cvbundle.processes.killed import OomKills, killed_by


@frozen(kw_only=True)
class RunOptions:
    """How a bundle is run on this machine."""

    num_processes: int | None = None
    """Processes on all machines; None for the bundle's number."""
    num_machines: int | None = None
    """Machines that train together; None for the number in the environment or the spec."""
    allow_drift: bool = False
    """Run with other package versions than the bundle's, and record that."""
    trust: bool = False
    """Run code that this installation would not write."""
    venv: bool = False
    """Run in a virtual environment of the bundle's own packages, made if necessary."""


AS_COMPILED = RunOptions()
"""Run a bundle as its spec says, with exactly its packages."""


@frozen
class Launch:
    """A run that is ready to execute."""

    bundle: Bundle
    sums: Mapping[str, str]
    """Path to digest of the bundle's files, as verified."""
    flags: tuple[str, ...]
    """Of `launch.sh`."""
    environment: Mapping[str, str]
    """Variables to set beyond those of this process."""
    drift: tuple[Drift, ...]
    finished: Run | None
    """The newest run, if it is complete and no other was asked for: there is nothing to do."""
    is_trusted: bool = False
    """Whether foreign code is run, as it is in the bundle."""

    @property
    def command(self) -> tuple[str, ...]:
        """The command that does the same without cvbundle."""
        return (str(self.bundle.folder / layout.LAUNCH), *self.flags)


@frozen
class Outcome:
    """How a trainer ended, and the run that it trained."""

    code: int
    run: Run | None
    """None if it ended before it had a run."""
    failure: str | None = None
    """Why it failed, if it was killed and couldn't report it itself."""


def plan_launch(
    bundle: Bundle,
    options: RunOptions = AS_COMPILED,
    *,
    choice: Choice = "auto",
    dry: bool = False,
    notify: Notify = lambda _: None,
) -> Launch:
    """Check that a bundle can be run here, and plan how.

    Args:
        bundle: the bundle to run.
        options: how it is run on this machine.
        choice: which run to continue.
        dry: make nothing, and check the weights and clips, which the trainer does otherwise.
        notify: called with a sentence before something that takes long.

    Raises:
        ForeignCode: its code is not what this installation would write.
        UserError: it isn't what was compiled, its inputs are missing, or the packages differ.
    """
    sums = require_verified(bundle)
    if choice == "resume":
        newest_run(bundle.runs_folder)
    if not options.trust:
        require_own_code(bundle, sums)
        require_own_files(bundle)
        require_own_packages(bundle)
    flags = () if choice == "auto" else (f"--{choice}",)
    finished = _finished_run(bundle) if choice != "fresh" else None
    if finished is not None and not dry:
        return Launch(bundle, sums, flags, {}, (), finished)
    require_places(bundle)
    if dry:
        require_files(bundle)
    environment = {"CVBUNDLE_VERIFIED": "1"}
    differing: tuple[Drift, ...] = ()
    if options.venv:
        environment |= _venv_variables(bundle, notify, dry=dry)
    else:
        environment["PYTHON"] = sys.executable
        differing = _drift(bundle, allowed=options.allow_drift)
    if options.num_processes is not None:
        environment["CVBUNDLE_NUM_PROCESSES"] = str(options.num_processes)
    if options.num_machines is not None:
        environment["CVBUNDLE_NUM_MACHINES"] = str(options.num_machines)
    return Launch(bundle, sums, flags, environment, differing, finished, options.trust)


def _venv_variables(bundle: Bundle, notify: Notify, *, dry: bool) -> dict[str, str]:
    """The variables with which `launch.sh` uses the virtual environment of a bundle's lock."""
    venv = venv_of(bundle.requirements)
    if venv.exists or not dry:
        require_venv(venv, notify)
    else:
        notify(f"{venv.folder} doesn't exist yet: a run makes it")
    # Packages on our own path would come before the environment's.
    return {"PYTHON": str(venv.python), "PYTHONPATH": ""}


def _drift(bundle: Bundle, *, allowed: bool) -> tuple[Drift, ...]:
    """The installed packages that differ from a bundle's lock."""
    differing = drift(bundle.requirements)
    if differing and not allowed:
        raise UserError(
            f"the installed packages differ from the bundle's: {'; '.join(map(str, differing))}: "
            "--venv runs in an environment of the bundle's, --allow-drift as it is, and records it"
        )
    return differing


def run_bundle(
    bundle: Bundle,
    options: RunOptions = AS_COMPILED,
    *,
    choice: Choice = "auto",
    notify: Notify = lambda _: None,
) -> Outcome:
    """Train a bundle, or continue its newest run; a complete run is the outcome as it is.

    See `plan_launch` for the arguments and errors, and `execute` for the outcome.
    """
    launch = plan_launch(bundle, options, choice=choice, notify=notify)
    return execute(launch) if launch.finished is None else Outcome(0, launch.finished)


def execute(launch: Launch) -> Outcome:
    """Run `launch.sh` to its end; it gets this process's signals, and dies with it.

    What runs is a private copy of the verified code, or, if foreign code is trusted, the bundle's.

    The code is 0, 3 if the training failed, or 130 if it was interrupted.

    Raises:
        UserError: the code has changed since it was verified.
    """
    if launch.is_trusted:
        return _execute(launch, launch.bundle.folder)
    with private_code(launch.bundle, launch.sums) as folder:
        return _execute(launch, folder)


def _execute(launch: Launch, folder: Path) -> Outcome:
    """Run the `launch.sh` in a folder to its end."""
    bundle = launch.bundle
    before = {run.folder: len(run.attempts) for run in bundle.runs}
    began, kills = datetime.now(UTC), OomKills()
    process = subprocess.Popen(
        ["bash", str(folder / layout.LAUNCH), *launch.flags],
        env=safe_environment() | dict(launch.environment) | {BUNDLE: str(bundle.folder.resolve())},
        preexec_fn=die_with_parent,
    )

    def forward(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    def ignore(number: int, _: FrameType | None) -> None:
        """The terminal sends Ctrl-C to the trainer itself."""

    handlers = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGINT: signal.signal(signal.SIGINT, ignore if os.isatty(0) else forward),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    failure = None
    killer = -code if code < 0 else code - 128
    if killer in (signal.SIGTERM, signal.SIGINT):
        # The trainer had not set its handlers yet.
        code = 130
    elif killer > 0:
        failure = f"the trainer {killed_by(killer, kills)}"
        record_failure(bundle.runs_folder, failure, since=began)
    runs = bundle.runs
    trained = runs and (code == 0 or len(runs[-1].attempts) != before.get(runs[-1].folder))
    return Outcome(code if code in (0, 130) else 3, runs[-1] if trained else None, failure)


def _finished_run(bundle: Bundle) -> Run | None:
    runs = bundle.runs
    return runs[-1] if runs and runs[-1].is_complete else None


def result_files(run: Run) -> Iterator[Path]:
    """The files of a complete run's result: its weights, then the videos of its last validation."""
    result = run.folder / (run.record.result or "")
    yield from sorted(result.glob("*.safetensors"))
    samples = sorted((run.folder / layout.RUN_SAMPLES).glob("*.mp4"))
    if samples:
        last = samples[-1].name.rsplit("-", 1)[0]
        yield from (path for path in samples if path.name.startswith(last))
