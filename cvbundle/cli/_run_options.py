"""Options shared by `cvbundle run` and `cvbundle reproduce`."""

import functools
from collections.abc import Callable
from typing import Any

import click
from attrs import fields_dict

from cvbundle.execution.launch import RunOptions

_OPTIONS = (
    click.option(
        "--num-processes", type=click.IntRange(min=1), help="Instead of the recorded number."
    ),
    click.option(
        "--num-machines",
        type=click.IntRange(min=1),
        help="Machines that train together; launch.sh lists the variables that each one needs.",
    ),
    click.option(
        "--allow-drift", is_flag=True, help="Run with other package versions, and record them."
    ),
    click.option("--venv", is_flag=True, help="Use an environment made of requirements.txt."),
    click.option("--trust", is_flag=True, help="Run code that this installation would not write."),
)


def with_run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them as its argument `options`."""

    @functools.wraps(command)
    def with_options(**arguments: Any) -> Any:
        values = {name: arguments.pop(name) for name in fields_dict(RunOptions)}
        return command(options=RunOptions(**values), **arguments)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options
