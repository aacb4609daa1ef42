"""`check --data` opens every clip, and says what compile would say of them."""

import subprocess
import sys
from pathlib import Path


def _check(spec: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cvbundle.cli", "check", str(spec), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_broken_clips_are_found_only_with_data(own_demo: Path) -> None:
    (own_demo / "data/videos/blue_down.mp4").write_text("no video")
    spec = own_demo / "spec.yaml"
    assert _check(spec).returncode == 0
    opened = _check(spec, "--data")
    assert opened.returncode == 1
    assert "error[clip-unreadable]: videos/blue_down.mp4" in opened.stderr


def test_long_captions_are_counted_with_the_models_own_tokenizer(own_demo: Path) -> None:
    prompts = own_demo / "data/prompts.txt"
    first, rest = prompts.read_text().split("\n", 1)
    prompts.write_text(f"{first} {'square ' * 200}\n{rest}")
    opened = _check(own_demo / "spec.yaml", "--data")
    assert opened.returncode == 0
    assert "warning[caption-too-long]" in opened.stderr
    assert "prompts.txt:1:" in opened.stderr
