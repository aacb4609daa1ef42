"""Fuzz a kind of file: `python -m tests.fuzz TARGET SECONDS` (`just fuzz TARGET SECONDS`).

Prints the number of cases and what the worst of them took. A case that fails is kept in
`tests/fuzz/failures/TARGET/`, where the fast tests try it for ever after.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from cvbundle.files.digest import sha256_bytes
from tests.fuzz.targets import TARGETS

FAILURES = Path(__file__).parent / "failures"


def fuzz(name: str, seconds: int) -> tuple[dict[str, float], list[Path], str]:
    """The figures of a run, the cases that failed, and what the fuzzer printed of them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "work").mkdir()
        command = [sys.executable, "-m", "tests.fuzz.engine", name, temporary, str(seconds)]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
        kept = []
        for failure in sorted(folder.glob("failure-*")):
            content = failure.read_bytes()
            path = FAILURES / name / sha256_bytes(content)[:16]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            kept.append(path)
        figures = folder / "figures.json"
        if not figures.is_file() or (result.returncode and not kept):
            raise SystemExit(f"the fuzzer itself failed:\n{result.stderr[-4000:]}")
        return json.loads(figures.read_text()), kept, result.stderr[-4000:]


def main() -> int:
    """1 if a case failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("seconds", type=int)
    options = parser.parse_args()
    figures, failures, output = fuzz(options.target, options.seconds)
    print(
        f"{options.target}: {figures['cases']:,} cases, {len(failures)} failed; worst: "
        f"{figures['worst_cpu_seconds']:.2f} s of CPU time, {figures['worst_memory_mib']} MiB"
    )
    for path in failures:
        print(f"{output}\nkept as {path}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
