"""How long weights that did not change take to pin: `python benchmarks/pin.py`.

Writes a model's folder of `--gib` GiB, and pins it in turn with every file hashed and with what is
known of the files. Wanted: what was hashed once costs no more than looking at it.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from cvbundle.model.pin import COMPONENTS, pin_folder

_SHARDS = 4
_SETTLED_SECONDS = 2.5
"""A file that was just written is not remembered."""


def make_model(folder: Path, size: int) -> None:
    """Write a folder with all parts of a model, whose weights are so many bytes together."""
    for component in COMPONENTS:
        (folder / component).mkdir()
        (folder / component / "config.json").write_text("{}")
    (folder / "tokenizer/spiece.model").write_text("words")
    names = [f"transformer/model-{number}.safetensors" for number in range(_SHARDS)]
    for name in (*names, "vae/model.safetensors", "text_encoder/model.safetensors"):
        with (folder / name).open("wb") as file:
            for _ in range(size // (_SHARDS + 2) >> 20):
                file.write(os.urandom(1 << 20))


def timed(folder: Path, *, rehash: bool) -> float:
    """Seconds to pin a folder."""
    start = time.perf_counter()
    pin_folder(folder, rehash=rehash)
    return time.perf_counter() - start


def main() -> None:
    """Print seconds and the ratio of each round, and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["CVBUNDLE_CACHE"] = f"{name}/cache"
        model = Path(name) / "model"
        model.mkdir()
        make_model(model, int(options.gib * (1 << 30)))
        time.sleep(_SETTLED_SECONDS)
        ratios = []
        for _ in range(options.rounds):
            hashed, known = timed(model, rehash=True), timed(model, rehash=False)
            ratios.append(hashed / known)
            print(f"hashed {hashed:.2f} s, known {known * 1000:.1f} ms: {ratios[-1]:.0f}")
    print(f"median of the ratios: {statistics.median(ratios):.0f} for {options.gib:g} GiB")


if __name__ == "__main__":
    main()
