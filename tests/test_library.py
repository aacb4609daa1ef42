"""`import cvbundle` offers what the command line can do, with types, and costs nothing."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cvbundle

ROOT = Path(__file__).parent.parent
SOURCE = Path(cvbundle.__file__)
GUIDE = (ROOT / "docs/library.md").read_text("utf-8")


def test_type_checkers_and_python_find_each_name_in_the_same_module() -> None:
    static = {
        node.module: {alias.name for alias in node.names}
        for node in ast.walk(ast.parse(SOURCE.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cvbundle.")
    }
    lazy = {module: set(names.split()) for module, names in cvbundle._MODULES.items()}
    assert static == lazy
    assert sorted(cvbundle.__all__) == sorted(["__version__", *set().union(*lazy.values())])


def test_every_name_is_used_in_the_script_that_is_type_checked() -> None:
    script = (ROOT / "tests/library_use.py").read_text("utf-8")
    for name in cvbundle.__all__:
        assert re.search(rf"\b{name}\b", script), name


def test_every_name_that_the_guide_mentions_is_there() -> None:
    table = GUIDE.partition("## A sweep")[0]
    code = " ".join(re.findall(r"`([^`]+)`", table))
    for name in re.findall(r"\b([a-z]+_[a-z_]+)\(|\b([A-Z][a-z]+[A-Za-z]+)\b", code):
        assert "".join(name) in {*cvbundle.__all__, "NAME"}, name


def test_every_command_is_in_the_guide() -> None:
    import click

    from cvbundle.cli._main import group

    for name in group.list_commands(click.Context(group)):
        assert re.search(rf"^\|.*`{name}[` ]", GUIDE, re.MULTILINE), name


def test_importing_it_imports_nothing_else_of_it() -> None:
    code = (
        "import sys; before = set(sys.modules); import cvbundle\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"cvbundle", "typing", "re", "functools", "collections"} | {
        name for name in done.stdout.split() if name.partition(".")[0] in sys.stdlib_module_names
    }


@pytest.mark.slow
def test_a_type_checker_sees_real_types_and_no_name_that_is_not_there(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import cvbundle\nreveal_type(cvbundle.compile_file)\nreveal_type(cvbundle.nonsense)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "-> cvbundle.compiler.build.Compilation" in done.stdout
    assert 'Module has no attribute "nonsense"' in done.stdout


@pytest.mark.train
@pytest.mark.slow
def test_the_guides_sweep_trains_both_bundles_and_archives_the_best(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    for _ in range(2):  # the second time, nothing is trained
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        rate, loss = done.stdout.splitlines()[-1].split()
        assert float(rate) in (1e-3, 1e-4)
        assert 0 < float(loss) < 10
    assert (tmp_path / "best.tar.zst").is_file()
    bundles = cvbundle.list_bundles(tmp_path / "bundles")
    assert [len(bundle.runs) for bundle in bundles] == [1, 1]
