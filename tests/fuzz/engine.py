"""The fuzzing process: atheris makes cases of a target's seeds, and every case is measured.

`python -m tests.fuzz.engine TARGET FOLDER SECONDS`; started by `tests.fuzz`, whose limits hold.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

import atheris
from attrs import asdict, define

CPU_SECONDS = 5.0
"""CPU time that a case may take, its worker's included."""
MEMORY_MIB = 1024
"""Memory that a case may add to what its process had before the first."""


_WARM = 12
"""Seeds that are tried before the fuzzer begins."""


@define
class Figures:
    """What the cases took."""

    cases: int = 0
    worst_cpu_seconds: float = 0.0
    worst_memory_mib: int = 0
    """Above the memory before the first case; of the largest process."""


def main(name: str, folder: Path, seconds: int) -> None:
    """Fuzz until the time is over, or until a case fails."""
    with atheris.instrument_imports(include=["cvbundle"]):
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name](folder / "work")
        corpus = folder / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed-{number:03}").write_bytes(seed)
            # Imports what the commands import when they run, so that it is instrumented too.
            if number < _WARM:
                target.check(seed)
    figures = Figures()
    before = _memory_mib()
    written = 0.0

    def case(content: bytes) -> None:
        nonlocal written
        started = _cpu_seconds()
        target.check(content)
        taken = _cpu_seconds() - started
        figures.cases += 1
        figures.worst_cpu_seconds = max(figures.worst_cpu_seconds, taken)
        figures.worst_memory_mib = max(figures.worst_memory_mib, _memory_mib() - before)
        assert taken <= CPU_SECONDS, f"{taken:.1f} s of CPU time"
        if time.monotonic() - written > 0.5:
            written = time.monotonic()
            (folder / "figures.json").write_text(json.dumps(asdict(figures)))

    largest = max(path.stat().st_size for path in corpus.iterdir())
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={max(4096, 2 * largest)}",
            f"-rss_limit_mb={_memory_mib() + MEMORY_MIB}",
            # The clock of a busy machine; the processor's time is counted above.
            "-timeout=120",
            f"-artifact_prefix={folder}/failure-",
            "-print_final_stats=1",
        ],
        case,
    )
    atheris.Fuzz()


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _memory_mib() -> int:
    """The most that this process, or one that it waited for, has held."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) >> 10


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
