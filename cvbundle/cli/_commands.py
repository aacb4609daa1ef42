"""Find commands by their files, so that one command's imports don't slow another one down."""

import importlib
from pathlib import Path

import click

_FOLDER = Path(__file__).parent
_SECTIONS = ("Begin", "Specs", "Runs", "Bundles")
"""The order of `--help`; a command names its section in `SECTION`."""


class Commands(click.Group):
    """The commands of this folder, each imported only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_name(path) for path in _FOLDER.glob("[!_]*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of the file with that name."""
        module = cmd_name.replace("-", "_")
        if not module.isidentifier() or module.startswith("_"):
            return None
        if not (_FOLDER / f"{module}.py").is_file():
            return None
        command: click.Command = importlib.import_module(f"cvbundle.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, by section, without importing any."""
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in _SECTIONS}
        names = self.list_commands(ctx)
        width = max(map(len, names))
        for name in names:
            section, summary = _described(_FOLDER / f"{name.replace('-', '_')}.py")
            sections.setdefault(section, []).append((name.ljust(width), summary))
        for section, commands in sections.items():
            if commands:
                with formatter.section(section):
                    formatter.write_dl(commands)


def _name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _described(path: Path) -> tuple[str, str]:
    """The section of a command and what it does in short, read from its source."""
    import ast

    section, summary = "", ""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == "command":
            doc = ast.get_docstring(node) or ""
            summary = " ".join(doc.partition("\n\n")[0].split())
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            section = str(node.value.value) if "SECTION" in targets else section
    return section, summary
