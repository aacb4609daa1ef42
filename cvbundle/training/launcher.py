"""`accelerate launch` for a run: the same processes, with our exit codes and no traceback.

Several processes are watched by torch's elastic agent, which answers a signal or a failed process
with a traceback of itself and exit code 1, and kills processes 30 seconds after a signal, in the
middle of a long step. Here a signal goes to the processes, which end after their step, and what
went wrong they have said by then.
"""

import logging
import signal
import sys
from types import FrameType

from cvbundle.training.__main__ import FAILED, INTERRUPTED

_NOT_OURS = "SIGHUP,SIGQUIT"
"""The signals that are left to torch's agent."""


def main() -> int:
    """Launch what the arguments say; 0, 3 where a process failed, 130 where all were stopped."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    arguments = launch_command_parser().parse_args()
    # An option of torchrun, which accelerate hands on without having it.
    arguments.signals_to_handle = _NOT_OURS
    _pass_signals_on()
    try:
        launch_command(arguments)
    except SignalException:
        return INTERRUPTED
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        # Where one has stopped, the agent ends those that are about to.
        stopped = INTERRUPTED in codes and codes <= {INTERRUPTED, -signal.SIGTERM}
        return INTERRUPTED if stopped else FAILED
    return 0


def _pass_signals_on() -> None:
    """The first signal asks every process to stop, a second ends it, and a third kills it."""
    import psutil

    received = 0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal received
        received += 1
        for child in psutil.Process().children():
            try:
                child.send_signal(number if received < 3 else signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


if __name__ == "__main__":
    sys.exit(main())
