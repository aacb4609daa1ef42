"""Each section of docs/extending.md is done as it is written, in a copy of the tree, and works."""

import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
COPIED = ("cvbundle", "docs", "templates", "tests")
LISTS = ("pyproject.toml", "constraints.txt")
"""The lists of packages."""
GENERATED = {"docs/spec.md", "docs/rules.md"}
MOST_FILES = {
    "A field": 2,
    "A rule": 1,
    "An optimizer": 3,
    "A model": 1,
    "A strategy": 1,
    "A command": 1,
    "An upstream importer": 2,
}
"""How many files a section may change: an optimizer's are its row and both lists of packages."""
PIP = """\
#!/usr/bin/env bash
# Installs a stand-in of the package that the text installs.
site={site}
mkdir -p $site/lion_pytorch $site/lion_pytorch-0.2.3.dist-info
printf 'from torch.optim import SGD as Lion\\n' > $site/lion_pytorch/__init__.py
printf 'Metadata-Version: 2.1\\nName: lion-pytorch\\nVersion: 0.2.3\\n' \
  > $site/lion_pytorch-0.2.3.dist-info/METADATA
"""

pytestmark = pytest.mark.slow


@frozen
class Block:
    """A block of code of the text."""

    language: str
    lines: tuple[str, ...]


def sections() -> dict[str, list[Block]]:
    """The blocks of each section, by its heading."""
    text = (ROOT / "docs/extending.md").read_text("utf-8")
    found: dict[str, list[Block]] = {}
    for part in text.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        found[heading] = [
            Block(match[1], tuple(match[2].splitlines()))
            for match in re.finditer(r"^```(\w+)\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
        ]
    return found


@pytest.fixture
def tree(tmp_path: Path, demo: Path) -> Path:
    """A copy of the tree in which commands can be run, with a demo."""
    copy = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in LISTS:
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(demo, copy / "demo")
    commands = tmp_path / "bin"
    commands.mkdir()
    shims = {
        "cvbundle": f'#!/usr/bin/env bash\nexec {sys.executable} -m cvbundle.cli "$@"\n',
        "python": f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n',
        "pip": PIP.format(site=tmp_path / "site"),
    }
    for name, script in shims.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    return copy


def apply(block: Block, tree: Path) -> None:
    """Apply a difference: its context and removed lines are in the file once, or there is none."""
    header, *lines = block.lines
    path = tree / header.removeprefix("+++ ")
    before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    text = path.read_text("utf-8") if path.exists() else ""
    assert path.exists() == bool(before), path
    assert text.count(before) == 1 or not before, f"{path} has this {text.count(before)} times"
    path.write_text(text.replace(before, after, 1) if before else after, "utf-8")


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a block, and what each prints."""
    for part in "\n".join(block.lines).split("$ ")[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed.strip("\n")


def run(command: str, tree: Path) -> str:
    """What a command prints."""
    environment = {
        **os.environ,
        "PATH": f"{tree.parent / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{tree}:{tree.parent / 'site'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout.strip("\n")


def pattern(printed: str) -> str:
    """A regular expression for what a command prints; `...` is anything."""
    parts = re.split(r"\n\.\.\.\n|\.\.\.", f"\n{printed}\n")
    return ".*".join(map(re.escape, parts))


def changed(tree: Path) -> set[str]:
    """The files of the tree that a section changed or added, but for generated ones."""
    files = {
        path.relative_to(tree).as_posix()
        for name in (*COPIED, *LISTS)
        for path in ([tree / name] if name in LISTS else (tree / name).rglob("*"))
        if path.is_file()
    }
    return {
        name
        for name in files
        if not (ROOT / name).is_file() or not filecmp.cmp(ROOT / name, tree / name, shallow=False)
    } - GENERATED


def test_the_text_has_the_sections_that_are_promised() -> None:
    assert list(sections()) == list(MOST_FILES)


@pytest.mark.parametrize("heading", MOST_FILES)
def test_what_a_section_adds_works(heading: str, tree: Path) -> None:
    for block in sections()[heading]:
        if block.language == "diff":
            apply(block, tree)
            continue
        assert block.language == "console"
        for command, printed in commands(block):
            output = run(command, tree)
            assert re.fullmatch(pattern(printed), f"\n{output}\n", re.DOTALL), (
                f"{command} printed\n{output}\ninstead of\n{printed}"
            )
    assert 0 < len(changed(tree)) <= MOST_FILES[heading]
