"""`accelerate launch` for a run: the same processes, with our exit codes and no traceback.

Several processes are watched by torch's elastic agent, which answers a signal or a failed process
with a traceback of itself and exit code 1. What went wrong the trainer has said by then.
"""

import logging
import sys

from cvbundle.training.__main__ import FAILED, INTERRUPTED


def main() -> int:
    """Launch what the arguments say; 0, 3 where a process failed, 130 where all were stopped."""
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    arguments = launch_command_parser().parse_args()
    try:
        launch_command(arguments)
    except SignalException:
        return INTERRUPTED
    except ChildFailedError as error:
        codes = {failure.exitcode for failure in error.failures.values()}
        return INTERRUPTED if codes == {INTERRUPTED} else FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
