"""With little memory a command ends in a sentence, and nothing is half-written."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file


@pytest.mark.parametrize("mib", [100, 150, 250, 400])
def test_too_little_memory_is_one_sentence(mib: int, demo: Path, tmp_path: Path) -> None:
    bundle = compile_file(demo / "spec.yaml", tmp_path / "store").only.bundle
    for arguments in (
        ["check", "--data", str(demo / "spec.yaml")],
        ["compile", str(demo / "spec.yaml"), "--rehash", "--out", "."],
        ["show", str(bundle)],
        ["archive", str(bundle), "-o", "a.tar.zst"],
    ):
        folder = tmp_path / arguments[0]
        folder.mkdir()
        result = subprocess.run(
            [sys.executable, "-P", "-m", "cvbundle.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20)),
        )
        assert result.returncode in (0, 1), result.stderr
        assert "Traceback" not in result.stderr
        if result.returncode:
            assert "ulimit -v" in result.stderr.splitlines()[-1], result.stderr
            assert not list(folder.iterdir())
