"""The README is true."""

import re
from pathlib import Path

import click

from cvbundle.cli._main import group
from cvbundle.compiler.check import check_file

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_the_spec_in_it_is_sound_but_for_the_readers_own_clips(tmp_path: Path) -> None:
    (spec,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "spec.yaml").write_text(spec)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/clip.mp4").write_bytes(b"")
    (tmp_path / "clips/videos.txt").write_text("clip.mp4\n")
    (tmp_path / "clips/prompts.txt").write_text("A wooden toy ship.\n")
    assert check_file(tmp_path / "spec.yaml").problems == ()


def test_its_two_commands_are_what_ci_runs_and_what_the_justfile_has() -> None:
    assert "pip install rust-just && just demo" in README
    assert "pip install rust-just && just test" in README
    assert "rust-just && just test" in (ROOT / ".ci/run").read_text()
    recipes = set(re.findall(r"^(\w+).*:", (ROOT / "justfile").read_text(), re.MULTILINE))
    assert {"setup", "demo", "test", "lint", "types", "bench"} <= recipes


def test_every_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_it_names_is_one() -> None:
    named = set(re.findall(r"`cvbundle (\w+)", README)) | set(
        re.findall(r"\$ cvbundle (\w+)", README)
    )
    assert named <= set(group.list_commands(click.Context(group)))
