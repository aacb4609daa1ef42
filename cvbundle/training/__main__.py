"""`python -m cvbundle.training`: what `launch.sh` starts, once a process."""

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType

from cvbundle.bundle.children import die_with_parent
from cvbundle.problems import UserError

FAILED = 3
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Train; the exit code is 0, 3 where the run failed, or 130 where it was stopped."""
    parser = argparse.ArgumentParser(prog="launch.sh", description="Train what this bundle says.")
    parser.add_argument("--bundle", type=Path, required=True, help=argparse.SUPPRESS)
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument(
        "--resume",
        dest="choice",
        action="store_const",
        const="resume",
        help="go on with the newest run; an error if there is none",
    )
    runs.add_argument(
        "--fresh", dest="choice", action="store_const", const="fresh", help="begin a new run"
    )
    parser.set_defaults(choice="auto")
    options = parser.parse_args(arguments)
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of several, which would wait for the others without a launcher to end it.
        die_with_parent()
    stop = threading.Event()
    _listen(stop)
    device = os.environ.get("CVBUNDLE_DEVICE", "cpu")
    world_size = int(os.environ.get("CVBUNDLE_NUM_PROCESSES", "1"))
    # Imported once the signals are listened to: torch and diffusers take seconds.
    import torch

    from cvbundle.training.session import FailedAlone, Stopped
    from cvbundle.training.train import train

    try:
        train(options.bundle, options.choice, device, world_size, stop)
    except Stopped as reason:
        return _say(f"stopped {reason}: run it again to go on", INTERRUPTED)
    except FailedAlone as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    except UserError as error:
        return _say(f"error: {error}", FAILED)
    except torch.OutOfMemoryError as error:
        asked = str(error).split(". ")[0]
        return _say(
            f"error: the device's memory is full ({asked}): lower training.batch_size, or turn on "
            "training.gradient_checkpointing; run it again to go on from the last checkpoint",
            FAILED,
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = "free some space, then run it again to go on from the last checkpoint"
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "run it again to go on from the last checkpoint"
        return _say(f"error: {where}{error.strerror or error}: {hint}", FAILED)
    except Exception as error:
        # A mistake of ours, so where it happened is wanted.
        traceback.print_exc()
        raise SystemExit(FAILED) from error
    return 0


def _listen(stop: threading.Event) -> None:
    """The first signal asks to stop after the step; a second one ends the process."""

    def handle(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()
        _say(f"{signal.Signals(number).name}: finishing the step, then saving", 0)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _say(text: str, code: int) -> int:
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
