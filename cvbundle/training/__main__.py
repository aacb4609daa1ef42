"""`python -m cvbundle.training`: what `launch.sh` starts, once a process."""

import errno
import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType

from cvbundle.problems import UserError, printable
from cvbundle.processes.children import die_with_parent
from cvbundle.training.arguments import parse_arguments
from cvbundle.training.exit_codes import DONE, FAILED, INTERRUPTED
from cvbundle.training.workers import LONGEST_REPORT, REPORT

_ECHO_S = 10.0
"""How long a process whose group has failed waits to be ended by its launcher, which knows why."""


def main(arguments: list[str] | None = None) -> int:
    """Train; the exit code is 0, 3 where the run failed, or 130 where it was stopped."""
    options = parse_arguments(arguments)
    if "LOCAL_RANK" in os.environ:
        # Without a launcher to end it, one of several would wait for the others.
        die_with_parent()
    stop = threading.Event()
    _handle_signals(stop)
    device = os.environ.get("CVBUNDLE_DEVICE", "cpu")
    world_size = int(os.environ.get("CVBUNDLE_NUM_PROCESSES", "1"))
    # Imported once signals are handled: torch and diffusers take seconds.
    import torch

    from cvbundle.training.group import is_of_the_group
    from cvbundle.training.processes import FailedAlone, Stopped
    from cvbundle.training.train import train

    try:
        train(options.bundle, options.choice, device, world_size, stop)
    except Stopped as reason:
        return _report(f"stopped {reason}: run it again to continue", INTERRUPTED)
    except FailedAlone as error:
        return _report(f"error: {error}", FAILED, alone=True)
    except UserError as error:
        return _report(f"error: {error}", FAILED)
    except torch.OutOfMemoryError as error:
        asked = str(error).split(". ")[0]
        return _report(
            f"error: the device's memory is full ({asked}): lower training.batch_size, or turn on "
            "training.gradient_checkpointing; run it again to continue from the last checkpoint",
            FAILED,
            alone=True,
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = "free some space, then run it again to continue from the last checkpoint"
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "run it again to continue from the last checkpoint"
        return _report(f"error: {where}{error.strerror or error}: {hint}", FAILED)
    except Exception as error:
        if is_of_the_group(error):
            # Another process is gone. The launcher knows which one, and ends this one too.
            time.sleep(_ECHO_S)
            return _report(
                f"error: the processes have lost each other ({str(error).splitlines()[0]}): run it "
                "again to continue from the last checkpoint",
                FAILED,
                alone=True,
            )
        # A bug: the traceback shows where.
        traceback.print_exc()
        raise SystemExit(FAILED) from error
    return DONE


def _handle_signals(stop: threading.Event) -> None:
    """The first signal asks to stop after the step; a second one ends the process."""

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()
        _report(f"{signal.Signals(number).name}: finishing the step, then saving", DONE)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _report(text: str, code: int, *, alone: bool = False) -> int:
    """Print a message, once on each machine unless it is about this process alone; the code.

    Why a process failed is printed by its launcher, if it has one: once for all of them.
    """
    descriptor = os.environ.get(REPORT)
    if code == FAILED and descriptor is not None:
        os.write(int(descriptor), text.removeprefix("error: ").encode()[:LONGEST_REPORT])
    elif alone or os.environ.get("LOCAL_RANK", "0") == "0":
        sys.stderr.write(printable(f"{text}\n", keep="\n"))
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
