"""How long scanning real clips takes beside hashing them: `python benchmarks/scan_cold.py CLIPS`.

Copies the clips of a folder until there are `--count`, each made distinct by a byte in a box that
means nothing, then times in turn `sha256sum` with a process a core and a scan without a cache. The
page cache is warm for both. Wanted: the median of the ratios is at most 1.25.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cvbundle.dataset.listing import list_entries
from cvbundle.dataset.scan import scan
from cvbundle.dataset.writing import write_manifest
from cvbundle.spec.schema import Data, Resolution


def make_dataset(root: Path, clips: list[Path], count: int) -> None:
    """Write `count` distinct copies and the two lists."""
    (root / "videos").mkdir()
    contents = [clip.read_bytes() for clip in clips]
    names = [f"videos/{number:05}.mp4" for number in range(count)]
    for number, name in enumerate(names):
        content = contents[number % len(contents)]
        box = (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big")
        (root / name).write_bytes(content + box)
    (root / "videos.txt").write_text("\n".join(names))
    (root / "prompts.txt").write_text("\n".join(f"caption of {name}" for name in names))


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def hash_all(root: Path, processes: int) -> None:
    """What `sha256sum` needs, with as many processes as the scan."""
    names = b"\0".join(os.fsencode(path) for path in sorted((root / "videos").iterdir()))
    command = ["xargs", "-0", "-P", str(processes), "-n", "50", "sha256sum"]
    subprocess.run(command, input=names, stdout=subprocess.DEVNULL, check=True)


def scan_all(root: Path) -> None:
    """Read the lists, open every clip and write the manifest."""
    data = Data(
        root=str(root),
        caption_column="prompts.txt",
        video_column="videos.txt",
        resolution=Resolution(49, 480, 720),
    )
    entries = list_entries(data, root).entries
    rows = scan(entries, data, root)
    summary = write_manifest(rows, root / "dataset.jsonl", root / "skipped.jsonl")
    assert summary.samples == len(entries)


def main() -> None:
    """Print the seconds and the ratio of each round, and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_dataset(root, sorted(options.clips.rglob("*.mp4")), options.count)
        hash_all(root, cores)
        ratios = []
        for _ in range(options.rounds):
            hashed = timed(lambda: hash_all(root, cores))
            scanned = timed(lambda: scan_all(root))
            ratios.append(scanned / hashed)
            print(f"sha256sum {hashed:.2f} s, scan {scanned:.2f} s: {ratios[-1]:.2f}")
    print(f"median of the ratios: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
