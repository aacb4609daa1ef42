"""A command is a file of `cvbundle/cli/`, imported only when it is asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

import cvbundle
from cvbundle.cli._main import group

HELLO = '''\
import click

SECTION = "Runs"


@click.command("hello-you")
def command() -> None:
    """Greet whoever types this, on
    one line."""
    click.echo("hello")
'''


def names() -> list[str]:
    return group.list_commands(click.Context(group))


def test_a_file_is_a_command_and_nothing_else_changes(tmp_path: Path) -> None:
    package = Path(cvbundle.__file__).parent
    shutil.copytree(package, tmp_path / "cvbundle", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "cvbundle/cli/hello_you.py").write_text(HELLO)

    def run(argument: str) -> str:
        command = [sys.executable, "-m", "cvbundle.cli", argument]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("hello-you") == "hello\n"
    listed = run("--help").partition("Runs:")[2].partition("Bundles:")[0]
    assert "hello-you  Greet whoever types this, on one line." in listed


def test_help_lists_every_command_and_imports_none() -> None:
    code = (
        "import sys; from cvbundle.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*[name for name in sys.modules if name.startswith('cvbundle.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    *lines, modules = done.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2:3].isalpha()]
    assert set(names()) <= set(listed)
    ours = {"cli", "cli._main", "cli._commands", "cli._echo", "problems"}
    assert set(modules.split()) == {f"cvbundle.{name}" for name in ours}


@pytest.mark.parametrize("name", names())
def test_a_command_is_named_as_its_file_and_says_what_it_does(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", ["_main", "nonsense", "../check", "check.py", "", "__init__"])
def test_another_name_is_no_command(name: str) -> None:
    assert group.get_command(click.Context(group), name) is None


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        (["schema"], 0, "}\n"),
        (["check", "gone.yaml", "--format", "json"], 1, "]\n"),
        (["check"], 2, ""),
    ],
)
def test_the_process_ends_with_the_commands_code_and_all_of_its_output(
    arguments: list[str], code: int, last: str, tmp_path: Path
) -> None:
    """It leaves without taking the interpreter apart, after all exit handlers."""
    done = subprocess.run(
        [sys.executable, "-m", "cvbundle.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.endswith(last)
