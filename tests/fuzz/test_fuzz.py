"""What a fuzzer has found stays mended, and a short run finds nothing new."""

import os
from pathlib import Path

import pytest

from tests.fuzz.__main__ import FAILURES, fuzz
from tests.fuzz.targets import TARGETS

_SECONDS = 10


@pytest.mark.parametrize("name", sorted(path.name for path in FAILURES.iterdir()))
def test_what_once_failed_does_not_fail_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CVBUNDLE_CACHE", os.environ.get("CVBUNDLE_CACHE", str(tmp_path / "cache")))
    target = TARGETS[name](tmp_path)
    for path in sorted((FAILURES / name).iterdir()):
        target.check(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_short_run_finds_nothing(name: str) -> None:
    pytest.importorskip("atheris", reason="atheris has no package for this Python")
    figures, failures, output = fuzz(name, _SECONDS)
    assert not failures, output
    assert figures["cases"] > 10
