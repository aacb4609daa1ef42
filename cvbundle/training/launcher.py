"""`python -m cvbundle.training.launcher`: what `launch.sh` starts for several processes.

It finds the other machines, starts this machine's processes, and watches until all have ended: a
process or a machine that is gone ends the run on all of them, with one sentence and exit code 3.
Nothing here needs torch, so it takes neither the seconds nor the memory of importing it.

`accelerate launch`, which would start the same processes, knows no exit codes but 1, answers a
signal with a traceback, kills processes 30 seconds after it, and notices a machine that is gone
only when the process group does (accelerate 1.15.0 and torch 2.13.0,
distributed/elastic/agent/server/api.py).
"""

import math
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import FrameType

from attrs import frozen

from cvbundle.bundle.bundle import Bundle
from cvbundle.bundle.runs import record_failure
from cvbundle.problems import UserError, printable
from cvbundle.training.arguments import parse_arguments
from cvbundle.training.exit_codes import DONE, FAILED, INTERRUPTED
from cvbundle.training.machines import Machine, Place
from cvbundle.training.meeting import Interrupted, Meeting, gather, join, listening
from cvbundle.training.watch import Ended, Peers
from cvbundle.training.workers import BadEnd, Workers

HOST = "CVBUNDLE_HOST"
"""The environment variable with what this machine is called among those of the run."""
COMMAND = (sys.executable, "-P", "-m", "cvbundle.training")
"""What each process runs."""
STORE = "CVBUNDLE_STORE_FD"
"""The environment variable with the socket on which the first process has the group's store."""
_PORT = 29500
_WAIT_S = 600.0
"""How long machines wait for each other; as torch's own launcher does."""
_LOOK_S = 0.1
"""How often it is looked whether a process has ended."""
_TO_SPEAK_S = 5.0
"""What processes get to end by themselves once one of them has failed: mostly they all do."""
_TO_SAVE_S = 60.0
"""And once one has stopped, after which the others have saved their state too."""


@frozen(kw_only=True)
class _Plan:
    """What is to be started on this machine."""

    bundle: Bundle
    machine: Machine
    place: Place
    began: datetime

    @property
    def processes_here(self) -> int:
        return self.machine.processes // self.machine.machines


def main() -> int:
    """Launch what the arguments and the environment say; 0, 3 where it failed, 130 if stopped."""
    bundle = Bundle(parse_arguments(sys.argv[1:]).bundle)
    stop = threading.Event()
    _on_signal(lambda _: stop.set())
    try:
        return _run(_plan(bundle), stop)
    except UserError as error:
        return _print(f"error: {error}", FAILED)
    except Interrupted:
        return _print("stopped before all machines had come: run it again to begin", INTERRUPTED)


def _plan(bundle: Bundle) -> _Plan:
    """What the environment says of this machine and the others.

    Raises:
        UserError: a variable is missing or invalid.
    """
    machines = bundle.num_machines
    processes = _number("CVBUNDLE_NUM_PROCESSES", 1, at_least=1)
    if processes % machines:
        raise UserError(
            f"{processes} processes can't be split evenly over {machines} machines: "
            "set CVBUNDLE_NUM_PROCESSES to a multiple"
        )
    if machines > 1:
        for name in ("MACHINE_RANK", "MAIN_PROCESS_IP"):
            if not os.environ.get(name):
                raise UserError(
                    f"{machines} machines train this, but {name} is not set: set MACHINE_RANK to "
                    f"a number from 0 to {machines - 1}, another one on each machine, and "
                    "MAIN_PROCESS_IP to the address of the one with 0"
                )
    machine = Machine(
        host=platform.node(),
        job=_job(),
        bundle=bundle.digest,
        rank=_number("MACHINE_RANK", 0) if machines > 1 else 0,
        machines=machines,
        processes=processes,
    )
    if machine.rank >= machines:
        raise UserError(
            f"MACHINE_RANK is {machine.rank}, but {machines} machines count from 0 to "
            f"{machines - 1}: set CVBUNDLE_NUM_MACHINES to how many there are"
        )
    place = Place(
        address=os.environ.get("MAIN_PROCESS_IP") or "127.0.0.1",
        port=_number("MAIN_PROCESS_PORT", _PORT, at_least=1),
        wait_s=_number("CVBUNDLE_WAIT_S", int(_WAIT_S), at_least=1),
    )
    return _Plan(bundle=bundle, machine=machine, place=place, began=datetime.now(UTC))


def _job() -> str:
    """What tells this run from another one of the bundle; a requeued Slurm job is another one."""
    own = os.environ.get("CVBUNDLE_JOB_ID")
    if own:
        return own
    job, again = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_RESTART_COUNT")
    return f"{job}.{again}" if job and again else job or ""


def _number(name: str, default: int, at_least: int = 0) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < at_least:
        raise UserError(f"{name} is {text}: it has to be a whole number, at least {at_least}")
    return int(text)


def _run(plan: _Plan, stop: threading.Event) -> int:
    alone = plan.machine.machines == 1
    with listening(0, "127.0.0.1" if alone else "") as store:
        meeting = _meet(plan, store, stop)
        workers = _start(plan, meeting, store)
    stopper = _Stopper(workers)
    _on_signal(stopper)
    if stop.is_set():
        # It came between the meeting and now.
        stopper(signal.SIGTERM)
    return _watch(plan, workers, meeting.peers)


def _meet(plan: _Plan, store: socket.socket, stop: threading.Event) -> Meeting:
    machine, place = plan.machine, plan.place
    if machine.machines == 1:
        port = store.getsockname()[1]
        alone = Peers(machine.host, {})
        return Meeting(peers=alone, store_port=port, own_address="127.0.0.1")
    if machine.rank == 0:
        others = "another machine" if machine.machines == 2 else f"{machine.machines - 1} others"
        _print(f"{machine.host} waits for {others} at {place}, {place.wait_s:g} s at most")
        return gather(machine, place, store.getsockname()[1], stop)
    _print(f"{machine.host} waits for the first machine at {place}, {place.wait_s:g} s at most")
    return join(machine, place, stop)


def _start(plan: _Plan, meeting: Meeting, store: socket.socket) -> Workers:
    machine, count = plan.machine, plan.processes_here
    alone = machine.machines == 1
    common = {
        "OMP_NUM_THREADS": "1",
        # torch warns of what is meant, and of connections that end with the run.
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        **({} if alone else _interface(meeting.own_address)),
        **os.environ,
        "WORLD_SIZE": str(machine.processes),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1" if alone or machine.rank == 0 else plan.place.address,
        "MASTER_PORT": str(meeting.store_port),
        "CVBUNDLE_NUM_MACHINES": str(machine.machines),
        HOST: meeting.peers.name,
    }
    environments = {}
    for local in range(count):
        rank = machine.rank * count + local
        environments[rank] = {**common, "RANK": str(rank), "LOCAL_RANK": str(local)}
    if machine.rank == 0:
        environments[0][STORE] = str(store.fileno())
    return Workers((*COMMAND, *sys.argv[1:]), environments, (store.fileno(),))


def _interface(address: str) -> dict[str, str]:
    """What has gloo talk to the other machines by the way on which they have met.

    Otherwise it takes the address of the host's name, which is often the loopback's.
    """
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == address for each in addresses):
            return {"GLOO_SOCKET_IFNAME": name}
    return {}


class _Stopper:
    """The first signal asks every process to stop, a second ends it, and a third kills it."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._received = 0

    def __call__(self, number: int) -> None:
        self._received += 1
        if self._received < 3:
            self._workers.send(number)
        else:
            self._workers.kill()


def _on_signal(answer: Callable[[int], None]) -> None:
    def handle(number: int, _: FrameType | None) -> None:
        answer(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def _watch(plan: _Plan, workers: Workers, peers: Peers) -> int:
    """Wait until this machine's processes have ended; the exit code."""
    elsewhere: Ended | None = None
    allowed, until = math.inf, math.inf
    while workers.are_running():
        time.sleep(_LOOK_S)
        if elsewhere is None:
            elsewhere = peers.look()
        ends = workers.ends()
        if ends:
            peers.tell(ends[0].code, ends[0].reason)
        left = _time_left(ends, elsewhere)
        if left < allowed:
            allowed, until = left, time.monotonic() + left
        if time.monotonic() >= until:
            workers.kill()
    code, reason = _outcome(plan.machine.host, workers.ends(), elsewhere)
    if code == DONE and workers.were_killed:
        # By a third signal.
        code, reason = INTERRUPTED, "stopped before it had saved"
    peers.leave(code, reason)
    if code == FAILED and plan.machine.rank == 0:
        # Where its first process could, it has.
        record_failure(plan.bundle.runs_folder, reason, since=plan.began)
    return code


def _time_left(ends: Sequence[BadEnd], elsewhere: Ended | None) -> float:
    """How many seconds the processes get to end by themselves."""
    if any(end.is_sudden for end in ends) or (elsewhere and elsewhere.code is None):
        return 0.0
    codes = {end.code for end in ends} | ({elsewhere.code} if elsewhere else set())
    return _TO_SPEAK_S if FAILED in codes else _TO_SAVE_S if codes else math.inf


def _outcome(host: str, ends: Sequence[BadEnd], elsewhere: Ended | None) -> tuple[int, str]:
    """How the run ended here, and why; printed, if no process has done so."""
    if ends and ends[0].code == FAILED:
        reason = ends[0].reason
        if ends[0].is_sudden:
            reason += f", on {host}: run it again to continue from the last checkpoint"
        if not ends[0].is_shown:
            _print(f"error: {reason}")
        return FAILED, reason
    if elsewhere is not None and elsewhere.code != INTERRUPTED:
        _print(f"error: {elsewhere.sentence}")
        return FAILED, elsewhere.sentence
    if ends or elsewhere is not None:
        return INTERRUPTED, "stopped"
    return DONE, ""


def _print(text: str, code: int = DONE) -> int:
    sys.stderr.write(printable(f"{text}\n", keep="\n"))
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
