"""How long two large manifests take to compare, and how much memory: `python benchmarks/diff.py`.

Two manifests of a million rows differ in a thousand: some put in, some taken out, some changed. The
comparison is timed in turn with `json.loads` of every line of both. Wanted: the median of the
ratios is at most 3, the peak memory of a process that compares at most 500 MB. The peak for two
manifests that have no line in common is shown too.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import evolve

from benchmarks.manifest_rows import row
from cvbundle.comparison.manifests import DataDifference, compare_manifests
from cvbundle.dataset.manifest import sample_line

DIFFERENT = 1000


def make(folder: Path, count: int) -> None:
    """Write `before`, `after`, and `other`, whose captions all differ."""
    paths = [folder / name for name in ("before", "after", "other")]
    with paths[0].open("wb") as before, paths[1].open("wb") as after, paths[2].open("wb") as other:
        for number in range(count):
            sample = row(number)
            line = sample_line(sample)
            before.write(line)
            other.write(sample_line(evolve(sample, caption=f"sks {sample.caption}")))
            kind = number // (count // DIFFERENT) % 3 if number % (count // DIFFERENT) == 0 else -1
            if kind == 0:
                after.write(sample_line(evolve(sample, caption="another")))
            elif kind == 1:
                after.write(line + sample_line(evolve(sample, clip=f"new/{number}.mp4")))
            elif kind == -1:
                after.write(line)


def compare(folder: Path) -> DataDifference:
    """What is timed."""
    return compare_manifests(folder / "before", folder / "after")


def ratios(folder: Path, rounds: int) -> list[float]:
    """Comparison over `json.loads` of both, in turn."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for name in ("before", "after"):
            with (folder / name).open("rb") as file:
                for line in file:
                    json.loads(line)
        loaded = time.perf_counter() - start
        start = time.perf_counter()
        difference = compare(folder)
        compared = time.perf_counter() - start
        assert difference.added + difference.removed + difference.changed == DIFFERENT
        found.append(compared / loaded)
        print(f"json.loads {loaded:.2f} s, comparison {compared:.2f} s: {found[-1]:.2f}")
    return found


def peak(folder: Path, other: str) -> int:
    """Peak memory in bytes of a process that compares `before` with another manifest."""
    command = [sys.executable, __file__, "--compare", str(folder), other]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def print_peak(folder: Path, other: str) -> None:
    """Compare, and print this process's peak memory in bytes."""
    compare_manifests(folder / "before", folder / other)
    # Not `getrusage`: what it says is handed down from the parent.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    print(int(line.split()[1]) * 1024)


def main() -> None:
    """Print ratio and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compare:
        print_peak(Path(options.compare[0]), options.compare[1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.count)
        print(f"median of the ratios: {statistics.median(ratios(folder, options.rounds)):.2f}")
        print(f"peak: {peak(folder, 'after') / 1e6:.0f} MB for {options.count} rows")
        print(f"peak where every row differs: {peak(folder, 'other') / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
