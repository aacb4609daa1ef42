"""What a scan tells while it runs."""

import sys
from typing import Protocol


class Progress(Protocol):
    """Listens to a scan."""

    def begin(self, files: int) -> None:
        """A scan of so many files begins."""

    def advance(self, files: int, size: int) -> None:
        """So many files more are done, with so many bytes in them."""

    def end(self) -> None:
        """The scan is over, finished or not."""


class Silence:
    """Says nothing."""

    def begin(self, files: int) -> None:
        """Nothing."""

    def advance(self, files: int, size: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Bar:
    """A bar on stderr with files and megabytes a second."""

    def begin(self, files: int) -> None:
        """Show the bar; where stderr is no terminal, nothing is shown."""
        from tqdm import tqdm

        self._bar = tqdm(total=files, unit="file", disable=None, file=sys.stderr, smoothing=0.1)
        self._bytes = 0

    def advance(self, files: int, size: int) -> None:
        """Move it."""
        self._bytes += size
        elapsed = self._bar.format_dict["elapsed"]
        if elapsed:
            rate = self._bytes / elapsed / 1e6
            self._bar.set_postfix_str(f"{rate:.0f} MB/s", refresh=False)
        self._bar.update(files)

    def end(self) -> None:
        """Leave it as it stands."""
        self._bar.close()
