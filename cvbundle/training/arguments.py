"""The options of `launch.sh`, which it passes to the processes that it starts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from cvbundle.bundle.runs import Choice


@frozen
class Arguments:
    """Which bundle to train, and which of its runs to continue."""

    bundle: Path
    choice: Choice


def parse_arguments(arguments: Sequence[str] | None = None) -> Arguments:
    """Read the command line; of this process if None is given."""
    parser = argparse.ArgumentParser(prog="launch.sh", description="Train this bundle.")
    parser.add_argument("--bundle", type=Path, required=True, help=argparse.SUPPRESS)
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument(
        "--resume",
        dest="choice",
        action="store_const",
        const="resume",
        help="continue the newest run; an error if there is none",
    )
    runs.add_argument(
        "--fresh", dest="choice", action="store_const", const="fresh", help="begin a new run"
    )
    parser.set_defaults(choice="auto")
    options = parser.parse_args(arguments)
    return Arguments(options.bundle, options.choice)
