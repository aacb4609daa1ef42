"""Other Python processes, which import nothing from the current folder.

`python -m` and `python -c` look there first. It may be a stranger's: whoever changes into an
unpacked bundle to look at it has its files as modules. What the user's own PYTHONPATH names is the
user's.
"""

import os
import sys

_SAFE = "PYTHONSAFEPATH"
"""Does what `-P` does, in every Python that is started below (Python 3.11)."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in this Python; to be started in `safe_environment()`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def safe_environment() -> dict[str, str]:
    """This process's environment, under which no Python looks into the current folder by itself."""
    return {**os.environ, _SAFE: "1"}
