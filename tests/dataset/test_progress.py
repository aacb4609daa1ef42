"""A scan reports its progress."""

import io
import sys

import pytest

from cvbundle.dataset.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_files_and_megabytes_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = ProgressBar()
    bar.begin(3)
    for _ in range(3):
        bar.advance(1, 5_000_000)
    bar.end()
    shown = terminal.getvalue()
    assert "3/3" in shown
    assert "file/s" in shown
    assert "MB/s" in shown


def test_a_bar_is_not_shown_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    bar = ProgressBar()
    bar.begin(1)
    bar.advance(1, 5)
    bar.end()
    assert not pipe.getvalue()
