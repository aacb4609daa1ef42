"""The training processes of one machine."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from attrs import define, frozen

from cvbundle.processes.killed import OomKills, killed_by
from cvbundle.training.exit_codes import DONE, FAILED, INTERRUPTED

REPORT = "CVBUNDLE_REPORT_FD"
"""The environment variable with the descriptor to which a process writes why it fails."""
LONGEST_REPORT = 1 << 12
"""Bytes; a pipe takes as many at once (pipe(7), PIPE_BUF)."""


@frozen(kw_only=True)
class BadEnd:
    """How a process ended that did not finish."""

    code: int
    """3 or 130."""
    reason: str
    is_sudden: bool = False
    """Whether a signal ended it, so that the other processes don't know."""
    is_shown: bool = False
    """Whether it has printed why itself, as a traceback."""


@define
class _Worker:
    rank: int
    process: "subprocess.Popen[bytes]"
    report: int
    """Where its report can be read."""
    end: BadEnd | None = None
    is_killed: bool = False
    """By this launcher, so how it ended has no meaning."""


class Workers:
    """Processes that are started together; each dies with the process that has started it."""

    def __init__(
        self,
        command: Sequence[str],
        environments: Mapping[int, Mapping[str, str]],
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start a process for each rank, in the environment given; the first has the descriptors.

        Each is in a process group of its own: Ctrl-C in a terminal comes once, from here.
        """
        self._memory = OomKills()
        self._workers: list[_Worker] = []
        for rank, environment in environments.items():
            read, write = os.pipe()
            passed = (write, *(descriptors if rank == 0 else ()))
            process = subprocess.Popen(
                command,
                env={**environment, REPORT: str(write)},
                pass_fds=passed,
                process_group=0,
            )
            os.close(write)
            self._workers.append(_Worker(rank, process, read))

    def are_running(self) -> bool:
        """Whether any has not ended yet."""
        return any(worker.process.poll() is None for worker in self._workers)

    @property
    def were_killed(self) -> bool:
        """Whether some did not end by themselves."""
        return any(worker.is_killed for worker in self._workers)

    def ends(self) -> list[BadEnd]:
        """How those ended that did not finish, the cause first.

        One that was killed took the others with it; otherwise a failure is why others stop.
        """
        ends = [end for worker in self._workers if (end := self._end(worker)) is not None]
        return sorted(ends, key=lambda end: (not end.is_sudden, end.code == INTERRUPTED))

    def _end(self, worker: _Worker) -> BadEnd | None:
        code = worker.process.poll()
        if worker.end is None and code not in (None, DONE) and not worker.is_killed:
            assert code is not None
            worker.end = self._bad_end(worker, code)
        return worker.end

    def _bad_end(self, worker: _Worker, code: int) -> BadEnd:
        if -code in (signal.SIGTERM, signal.SIGINT):
            # It was asked to stop before it listened: nothing is begun, nor will the others begin.
            return BadEnd(code=INTERRUPTED, reason="stopped", is_sudden=True)
        if code < 0:
            reason = f"process {worker.rank} {killed_by(-code, self._memory)}"
            return BadEnd(code=FAILED, reason=reason, is_sudden=True)
        report = os.read(worker.report, LONGEST_REPORT).decode("utf-8", "replace")
        if code == INTERRUPTED:
            return BadEnd(code=code, reason="stopped")
        reason = report or f"process {worker.rank} failed: see its traceback"
        return BadEnd(code=FAILED, reason=reason, is_shown=not report)

    def send(self, number: int) -> None:
        """Send a signal to those that are running."""
        for worker in self._workers:
            worker.process.send_signal(number)

    def kill(self) -> None:
        """End those that are running, at once."""
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.is_killed = True
                worker.process.kill()
