"""How long an unchanged dataset takes: `python benchmarks/scan_warm.py`.

Makes `--count` tiny clips and writes their manifest once. Then times in turn the second writing of
it and its floor: `os.stat` on each clip plus the writer on rows that are there. Wanted: the median
of the ratios is at most 2. The same is told for a scan where only the clips are known, as after a
change of captions or settings.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cvbundle.dataset.build import write_dataset
from cvbundle.dataset.manifest import read_samples
from cvbundle.dataset.writing import write_manifest
from cvbundle.files.durable import remove_tree
from cvbundle.spec.schema import Data, Resolution


def make_dataset(root: Path, count: int) -> Data:
    """Write `count` clips of nine frames of 16x16, each with another byte at its end."""
    target = root / "one.mp4"
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.height = stream.width = 16
        stream.pix_fmt = "yuv420p"
        for number in range(9):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 9 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = target.read_bytes()
    names = [f"{number // 1000:03}/{number:06}.mp4" for number in range(count)]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content + (12).to_bytes(4, "big") + b"free" + b"%04x" % number)
    (root / "videos.txt").write_text("\n".join(names))
    caption = "a rider on a galloping horse, seen from the side in black and white"
    (root / "prompts.txt").write_text("\n".join(f"{caption}, {name}" for name in names))
    return Data(
        root=str(root),
        caption_column="prompts.txt",
        video_column="videos.txt",
        resolution=Resolution(9, 16, 16),
    )


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print seconds and ratios of each round, and the medians of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, cache, out = (Path(folder) / name for name in ("data", "cache", "out"))
        root.mkdir()
        out.mkdir()
        data = make_dataset(root, options.count)
        files = out / "dataset.jsonl", out / "skipped.jsonl"
        print(f"cold: {timed(lambda: write_dataset(data, root, *files, cache=cache)):.1f} s")
        samples = list(read_samples(files[0]))
        paths = [f"{root}/{sample.clip}" for sample in samples]

        def floor() -> None:
            for path in paths:
                os.stat(path)  # noqa: PTH116 (a Path takes longer)
            write_manifest(samples, *files)

        whole, clips = [], []
        for _ in range(options.rounds):
            least = timed(floor)
            again = timed(lambda: write_dataset(data, root, *files, cache=cache))
            remove_tree(cache / "manifests")
            known = timed(lambda: write_dataset(data, root, *files, cache=cache))
            whole.append(again / least)
            clips.append(known / least)
            print(
                f"stat and write {least:.2f} s; nothing changed {again:.2f} s: {whole[-1]:.2f}; "
                f"clips unchanged {known:.2f} s: {clips[-1]:.2f}"
            )
    print(f"medians: {statistics.median(whole):.2f}, {statistics.median(clips):.2f}")


if __name__ == "__main__":
    main()
