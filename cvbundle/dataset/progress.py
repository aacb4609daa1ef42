"""The progress of a scan."""

import sys
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a scan."""

    def begin(self, files: int) -> None:
        """A scan of `files` files begins."""

    def advance(self, files: int, size: int) -> None:
        """`files` more files of `size` bytes in total are done."""

    def end(self) -> None:
        """The scan has ended, complete or not."""


class NoProgress:
    """Shows nothing."""

    def begin(self, files: int) -> None:
        """Do nothing."""

    def advance(self, files: int, size: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class ProgressBar:
    """A bar on stderr with files and megabytes per second."""

    def begin(self, files: int) -> None:
        """Show the bar, if stderr is a terminal."""
        from tqdm import tqdm

        self._bar = tqdm(total=files, unit="file", disable=None, file=sys.stderr, smoothing=0.1)
        self._bytes = 0

    def advance(self, files: int, size: int) -> None:
        """Advance the bar."""
        self._bytes += size
        elapsed = self._bar.format_dict["elapsed"]
        if elapsed:
            rate = self._bytes / elapsed / 1e6
            self._bar.set_postfix_str(f"{rate:.0f} MB/s", refresh=False)
        self._bar.update(files)

    def end(self) -> None:
        """Close the bar."""
        self._bar.close()
