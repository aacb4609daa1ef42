"""What a sweep costs over one bundle: `python benchmarks/sweep.py`.

Compiles in turn one point, and a sweep of `--points` of them, over `--count` tiny clips that were
opened before, each time into a new store. Wanted: the manifest is written once, so that a sweep
takes little more time and disk than one bundle, and not `--points` times as much.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.scan_warm import make_dataset
from cvbundle.authoring.demo import write_demo
from cvbundle.bundle.layout import DATASET
from cvbundle.compiler.build import compile_file
from cvbundle.files.durable import remove_tree


def compile_points(spec: Path, root: Path, store: Path, points: int) -> float:
    """Seconds to compile a sweep of so many points into a store that isn't there yet."""
    rates = ", ".join(f"{number}e-6" for number in range(1, points + 1))
    settings = [f"sweep={{training.learning_rate: [{rates}]}}", "data.resolution=9x16x16"]
    start = time.perf_counter()
    bundles = compile_file(spec, store, settings=settings, data_root=root).bundles
    seconds = time.perf_counter() - start
    assert len(bundles) == points
    return seconds


def on_disk(folder: Path) -> int:
    """Bytes that a folder takes on its disk, each file once however many names it has."""
    files = {(s.st_dev, s.st_ino): s for s in (path.lstat() for path in folder.rglob("*"))}
    return sum(status.st_blocks * 512 for status in files.values())


def main() -> None:
    """Print seconds, bytes and ratios of each round, and the median of the ratios of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        # Nothing is removed before the end: a disk is slow for a while after much was.
        root, stores = Path(name) / "data", Path(name) / "stores"
        root.mkdir()
        make_dataset(root, options.count)
        spec = write_demo(Path(name) / "demo", "cogvideox-2b", "lora").spec
        print(f"cold: one bundle {compile_points(spec, root, stores / 'cold', 1):.1f} s")
        ratios = []
        for number in range(options.rounds):
            single, swept = stores / f"{number}-one", stores / f"{number}-many"
            one = compile_points(spec, root, single, 1)
            many = compile_points(spec, root, swept, options.points)
            ratios.append(many / one)
            manifests = {path.stat().st_ino for path in swept.glob(f"*/{DATASET}")}
            print(
                f"one {one:.2f} s, {on_disk(single) / 1e6:.1f} MB; {options.points} points "
                f"{many:.2f} s, {on_disk(swept) / 1e6:.1f} MB in {len(manifests)} manifest: "
                f"{ratios[-1]:.2f} times the time"
            )
        remove_tree(stores)
    print(f"median: {statistics.median(ratios):.2f} times one bundle, not {options.points} times")


if __name__ == "__main__":
    main()
