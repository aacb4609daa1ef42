"""Other Python processes, which import nothing from the current folder.

`python -m` and `python -c` look there first, and so does a process that multiprocessing starts. It
may be a stranger's: whoever changes into an unpacked bundle to look at it has its files as modules.
What the user's own PYTHONPATH names is the user's.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

_SAFE = "PYTHONSAFEPATH"
"""Does what `-P` does, in every Python that is started below (Python 3.11)."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in this Python; to be started in `safe_environment()`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def safe_environment() -> dict[str, str]:
    """This process's environment, under which no Python looks into the current folder by itself."""
    return {**os.environ, _SAFE: "1"}


@contextlib.contextmanager
def safe_children() -> Iterator[None]:
    """While the block lasts, all processes are started like that: multiprocessing asks nobody."""
    before = os.environ.get(_SAFE)
    os.environ[_SAFE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE]
        else:
            os.environ[_SAFE] = before
