"""Run a command, and end in its exit code and one sentence whatever happens."""

import errno
import io
import os
import signal
import sys
import threading
from typing import NoReturn

import click

import cvbundle
from cvbundle.cli._commands import Commands
from cvbundle.cli._echo import echo
from cvbundle.problems import CvbundleError, ProblemsFound


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(cvbundle.__version__, prog_name="cvbundle")
def group() -> None:
    """Compile CogVideoX fine-tuning settings into reproducible bundles, and run them.

    Exit codes: 0 yes; 1 no (problems, differences, not verified); 2 wrong usage; 3 the training run
    failed; 130 interrupted.
    """


_STACK_BYTES = 1 << 20
"""Of a thread: the usual 8 MiB count against a limit on memory (ulimit -v), though hardly used."""

_NO_THREAD = ("can't start new thread",)
"""All that CPython says of it: `RuntimeError` has no subclass or number for this."""

_MORE_MEMORY = "free some memory, or raise its limit (ulimit -v)"


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    # SIGTERM unwinds like Ctrl-C, so that nothing unfinished is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.stack_size(_STACK_BYTES)
    try:
        code = group.main(arguments, prog_name="cvbundle", standalone_mode=False)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        text = io.StringIO()
        error.show(file=text)
        echo(text.getvalue(), err=True, nl=False)
        code = error.exit_code
    except ProblemsFound as error:
        from cvbundle.cli._report import report

        report(error.problems)
        code = 1
    except CvbundleError as error:
        for line in (*error.details, f"error: {error}"):
            echo(line, err=True)
        code = 1
    except (KeyboardInterrupt, click.Abort):
        echo("interrupted", err=True)
        code = 128 + signal.SIGINT
    except MemoryError:
        echo(f"error: out of memory: {_MORE_MEMORY}", err=True)
        code = 1
    except ImportError as error:
        from cvbundle.processes.missing import installation

        # Also what the loader says of a library for which there is no memory.
        words = installation(error) or f"{error}: install cvbundle again, or {_MORE_MEMORY}"
        echo(f"error: {words}", err=True)
        code = 1
    except RuntimeError as error:
        if error.args != _NO_THREAD:
            raise
        echo(f"error: {error}: {_MORE_MEMORY}", err=True)
        code = 1
    except BrokenPipeError:
        # The reader of our output is gone, and Python would complain when it flushes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        hint = ": free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        echo(f"error: {where}{error.strerror or error}{hint}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
