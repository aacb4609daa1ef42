"""Probe files in worker processes: what a file does to its decoder ends with its worker."""

import contextlib
import json
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cvbundle.dataset.bad_clip import BadClip
from cvbundle.dataset.limits import cpu_seconds, too_slow
from cvbundle.dataset.probe import Depth
from cvbundle.dataset.probing import File, ProbeResult, ProbeTask, require_version
from cvbundle.dataset.results import result_from_text
from cvbundle.files.identity import Identity
from cvbundle.problems import UserError
from cvbundle.processes.interpreters import module_command, safe_environment
from cvbundle.processes.killed import OomKills, killed_by


@contextlib.contextmanager
def workers(count: int) -> Iterator["Workers"]:
    """Up to `count` worker processes, each started with the first file that it gets."""
    pool = Workers(count)
    try:
        yield pool
    finally:
        pool.close()


class Workers:
    """Worker processes, and a thread for each that waits for its answers.

    They are plain processes and not those of `multiprocessing`, which import the program's main
    module again: a script that compiles needs no `if __name__ == "__main__"`.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, "probe-files")
        self._own = threading.local()
        self._started: set[_Worker] = set()
        self._closed = False

    def submit(
        self, _call: Callable[[ProbeTask], list[ProbeResult]], task: ProbeTask, /
    ) -> "Future[list[ProbeResult]]":
        """Probe a task's files; it is a worker's `probe_file` that is called for each."""
        return self._threads.submit(self._probe, task)

    def close(self) -> None:
        """End the workers; tasks that haven't started are cancelled."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in tuple(self._started):
            worker.kill()
        self._threads.shutdown(wait=True)

    def _probe(self, task: ProbeTask) -> list[ProbeResult]:
        require_version(task)
        pairs = zip(task.files, task.identities, strict=True)
        return [self._result(file, identity, task.depth) for file, identity in pairs]

    def _result(self, file: File, identity: Identity, depth: Depth) -> ProbeResult:
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = _Worker()
            self._started.add(worker)
        result = worker.ask(file, identity, depth)
        if isinstance(result, int):
            self._own.worker = None
            self._started.discard(worker)
            return _ended(result, identity, worker.kills)
        return result


class _Worker:
    """A worker process."""

    def __init__(self) -> None:
        self.kills = OomKills()
        self._process = subprocess.Popen(
            module_command("cvbundle.dataset.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=safe_environment(),
        )

    def ask(self, file: File, identity: Identity, depth: Depth) -> ProbeResult | int:
        """The result of a file; the process's exit code if it ended without an answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        question = json.dumps([file.path, file.is_image, identity, depth.value])
        try:
            self._process.stdin.write(question.encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            self.kill()
            return self._process.wait()
        size, digest, properties = json.loads(answer)
        return result_from_text(digest, size, properties)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _ended(code: int, identity: Identity, kills: OomKills) -> BadClip:
    """Why a file has no result whose worker ended with `code`.

    Raises:
        UserError: the worker itself doesn't run.
    """
    if code == -signal.SIGXCPU:
        return too_slow(cpu_seconds(identity[0]))
    if code >= 0:
        command = shlex.join(module_command("cvbundle.dataset.worker"))
        raise UserError(f"a process to open clips ended with exit code {code}: try {command}")
    reason = f"can't be decoded: its decoder {killed_by(-code, kills)}"
    return BadClip("clip-unreadable", reason, lasting=False)
