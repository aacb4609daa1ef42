"""What runs is what was verified, even if the bundle changes meanwhile."""

import json
from pathlib import Path

import pytest
from attrs import evolve

from cvbundle.bundle.verify import read_sums
from cvbundle.compiler.build import Compiled
from cvbundle.execution.foreign_code import ForeignCode, require_own_code
from cvbundle.execution.launch import Launch, RunOptions, execute, plan_launch
from cvbundle.problems import UserError

_EVIL = "\nraise SystemExit('evil')\n"


def _recording(launch: Launch, folder: Path) -> tuple[Launch, Path]:
    """A launch whose Python changes the bundle, then records what it would import."""
    record = folder / "record.json"
    python = folder / "python"
    code = launch.bundle.folder / "code/cvbundle/training/__main__.py"
    code.chmod(0o644)
    python.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, sys\n"
        f"pathlib.Path({str(code)!r}).write_text({_EVIL!r})\n"
        "code = pathlib.Path(os.environ['PYTHONPATH'].split(':')[0])\n"
        "text = (code / 'cvbundle/training/__main__.py').read_text()\n"
        "data = [str(code), oct(code.parent.parent.stat().st_mode), text, *sys.argv[1:]]\n"
        "data.append('CVBUNDLE_BUNDLE' in os.environ)\n"
        f"pathlib.Path({str(record)!r}).write_text(json.dumps(data))\n"
    )
    python.chmod(0o755)
    return evolve(launch, environment={**launch.environment, "PYTHON": str(python)}), record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that no other test uses."""
    monkeypatch.setenv("CVBUNDLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_trainer_imports_the_verified_code(
    compiled: Compiled, tmp_path: Path, cache: Path
) -> None:
    launch, record = _recording(plan_launch(compiled.bundle), tmp_path)
    assert execute(launch).code == 0
    code, mode, text, *arguments, has_variable = json.loads(record.read_text())
    assert Path(code).is_relative_to(cache / "code")
    assert mode.endswith("700")
    assert _EVIL not in text
    assert arguments == ["-m", "cvbundle.training", "--bundle", str(compiled.bundle.folder)]
    assert not has_variable
    assert not Path(code).exists()


def test_trusted_code_runs_in_the_bundle(compiled: Compiled, tmp_path: Path) -> None:
    launch, record = _recording(plan_launch(compiled.bundle, RunOptions(trust=True)), tmp_path)
    execute(launch)
    assert json.loads(record.read_text())[0] == str(compiled.bundle.folder / "code")


@pytest.mark.parametrize("name", ["launch.sh", "code/cvbundle/__init__.py"])
def test_code_that_changed_after_it_was_verified_is_not_started(
    name: str, compiled: Compiled, cache: Path
) -> None:
    launch = plan_launch(compiled.bundle)
    path = compiled.bundle.folder / name
    path.chmod(0o644)
    path.write_text("exit 0\n")
    with pytest.raises(UserError, match=rf"{name} changed after it was verified"):
        execute(launch)
    assert list((cache / "code").iterdir()) == []


def test_code_is_judged_by_the_digests_that_were_verified(compiled: Compiled) -> None:
    """Swapping our own code in between two reads doesn't help."""
    foreign = {**read_sums(compiled.bundle), "code/cvbundle/__init__.py": "0" * 64}
    with pytest.raises(ForeignCode, match=r"code/cvbundle/__init__\.py"):
        require_own_code(compiled.bundle, foreign)
