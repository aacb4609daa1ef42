"""A process that probes files: `python -P -m cvbundle.dataset.worker`.

It reads a line of JSON for each file from standard input and answers with one on standard output.
What it may allocate is limited, and the CPU time of each file, which the kernel enforces: a decoder
that never returns ends with its process.
"""

import json
import math
import os
import resource
import signal
import sys
from pathlib import Path

from cvbundle.dataset.limits import MEMORY_BYTES, cpu_seconds
from cvbundle.dataset.probe import Depth
from cvbundle.dataset.probing import File, probe_file
from cvbundle.dataset.results import result_as_text
from cvbundle.files.identity import Identity


def main() -> None:
    """Answer until standard input ends."""
    # Ctrl-C goes to every process of a terminal; the parent ends this one in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    # Nothing that a library prints may be taken for an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit(resource.RLIMIT_AS, _address_space() + MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    for line in sys.stdin.buffer:
        path, is_image, identity, depth = json.loads(line)
        _limit_cpu_time(cpu_seconds(identity[0]))
        result = probe_file(File(path, is_image), Identity(*identity), Depth(depth))
        answers.write(json.dumps([getattr(result, "size", 0), *result_as_text(result)]) + "\n")
        answers.flush()


def _limit_cpu_time(seconds: float) -> None:
    """Have the kernel end this process with SIGXCPU after so many more seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The probe stops by itself at the limit, if its decoder returns.
    _limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + seconds) + 1)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space() -> int:
    """Bytes of this process's address space: proc(5), /proc/pid/statm."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
