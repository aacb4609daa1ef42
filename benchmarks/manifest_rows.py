"""How long a manifest takes to write, and how much memory: `python benchmarks/manifest_rows.py`.

Times in turn the writer and `json.dumps` of the same synthetic rows, then measures the peak memory
of a process that writes a tenth of the rows and of one that writes all. Wanted: the median of the
ratios is at most 1.5, the peak at most 300 MB, and within 10 % of that of a tenth.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cvbundle.dataset.frames import choose_frames, crop_box
from cvbundle.dataset.manifest import Sample
from cvbundle.dataset.writing import write_manifest

FRAMES = 49


def row(number: int) -> Sample:
    """A sample such as a real dataset has."""
    frames = 49 + number % 200
    return Sample(
        clip=f"videos/{number // 1000:04}/{number:07}.mp4",
        digest=f"{number:064x}",
        size=700_000 + number,
        codec="h264",
        frames=frames,
        fps="30000/1001",
        duration=round(frames * 1001 / 30000, 6),
        height=1080,
        width=1920,
        rotation=0,
        variable=False,
        chosen=choose_frames(frames, FRAMES, "uniform"),
        crop=crop_box(1080, 1920, 480, 720, "crop"),
        caption=f"Clip {number}: a rider on a galloping horse, seen from the side, “slowly”. " * 4,
    )


def as_data(sample: Sample) -> dict[str, object]:
    """The same as `json.dumps` takes it."""
    names = "clip digest size codec frames fps duration height width rotation mirrored variable"
    data = {name: getattr(sample, name) for name in names.split()}
    crop = sample.crop
    box = [crop.top, crop.left, crop.height, crop.width]
    return data | {"chosen": list(sample.chosen), "crop": box, "caption": sample.caption}


def rows(count: int) -> Iterator[Sample]:
    """Rows that are made as they are asked for."""
    return map(row, range(count))


def compare(folder: Path, count: int, rounds: int) -> float:
    """The median of writer over `json.dumps`, on rows that are made beforehand."""
    ratios = []
    samples = list(rows(count))
    data = [as_data(sample) for sample in samples]
    for _ in range(rounds):
        start = time.perf_counter()
        for item in data:
            json.dumps(item)
        dumped = time.perf_counter() - start
        start = time.perf_counter()
        write_manifest(samples, folder / "dataset.jsonl", folder / "skipped.jsonl")
        written = time.perf_counter() - start
        ratios.append(written / dumped)
        print(f"json.dumps {dumped:.2f} s, writer {written:.2f} s: {ratios[-1]:.2f}")
    return statistics.median(ratios)


def peak(count: int) -> int:
    """Peak memory in bytes of a process that writes so many rows."""
    command = [sys.executable, __file__, "--write", str(count)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def write(count: int) -> None:
    """Write rows and print this process's peak memory in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_manifest(rows(count), path / "dataset.jsonl", path / "skipped.jsonl")
    # Not `getrusage`: what it says is handed down from the parent.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    print(int(line.split()[1]) * 1024)


def main() -> None:
    """Print ratio and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write)
        return
    with tempfile.TemporaryDirectory() as folder:
        # A part of the rows is enough for a ratio, and fits into memory as Python data.
        part = min(options.count, 100_000)
        print(f"median of the ratios: {compare(Path(folder), part, options.rounds):.2f}")
    tenth, whole = peak(options.count // 10), peak(options.count)
    print(f"peak: {tenth / 1e6:.0f} MB for a tenth, {whole / 1e6:.0f} MB for {options.count} rows")
    print(f"ratio of the peaks: {whole / tenth:.3f}")


if __name__ == "__main__":
    main()
