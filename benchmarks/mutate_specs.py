"""Check many mutated specs; say what became of them, and stop at the first that does harm.

`python -m benchmarks.mutate_specs [NUMBER] [SEED]`: every one must end in a spec without problems
or in problems that have a place; none in an exception, and none may take a second.
"""

import sys
import time
from collections import Counter
from pathlib import Path

from cvbundle.compiler.check import check_document
from cvbundle.problems import render_github, render_json, render_text
from cvbundle.spec.text.reader import read
from tests.spec.mutations import mutants


def main(number: int = 10_000, seed: int = 0) -> None:
    """Check the mutants and print how often each rule was broken."""
    rules: Counter[str] = Counter()
    clean, slowest = 0, 0.0
    for content in mutants(number, seed):
        started = time.perf_counter()
        try:
            checked = check_document(read(content, "spec.yaml"), Path("/nowhere"))
            for problem in checked.problems:
                assert problem.place.line >= 1, problem
                assert problem.place.column >= 1, problem
                render_text(problem)
                render_github(problem)
            render_json(checked.problems)
        except BaseException:
            print(f"the mutant is {content!r}", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - started)
        rules.update(problem.rule for problem in checked.problems)
        clean += not checked.problems
    assert slowest < 1, f"{slowest:.1f} s for one spec"
    print(f"{number} specs, {clean} without problems, at most {slowest * 1000:.0f} ms for one")
    for rule, count in rules.most_common():
        print(f"{count:>7} {rule}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
