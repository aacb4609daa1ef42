"""The command line: a command a file, which parses, calls one library function, shows the result.

A file whose name begins with `_` is no command.
"""

import atexit
import gc
import os
import sys
from typing import NoReturn


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command in this process, and raise `SystemExit` with its code."""
    from cvbundle.cli._main import run

    run(arguments)


def script() -> NoReturn:
    """Run a command as a process of its own: the `cvbundle` script.

    A short command spends a tenth of its time on looking for garbage among what was just imported,
    and more on taking all of it apart at the end: one is done less often, the other left out.
    """
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    ended: list[int] = []
    # What is registered first is called last.
    atexit.register(_leave, ended)
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, int):
            ended.append(error.code)
        raise


_OBJECTS = 50_000
"""New objects until garbage is looked for; Python's own number is 700 (2,000 from 3.13)."""


def _leave(ended: list[int]) -> None:
    """End the process at once, if a command ended and its output is written."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # there is none, or nobody reads it
        return
    for code in ended:
        os._exit(code)
