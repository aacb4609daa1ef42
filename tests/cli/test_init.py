"""`cvbundle init` writes a spec to begin with, and never over another file."""

from pathlib import Path

import pytest

from cvbundle.authoring.starters import DEFAULT, find_starter, starter_text
from cvbundle.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["init", *arguments])
    return int(end.value.code or 0)


def test_it_writes_the_default_to_spec_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert (tmp_path / "spec.yaml").read_text("utf-8") == starter_text(find_starter(DEFAULT))
    assert "cvbundle check spec.yaml" in capsys.readouterr().out


def test_it_writes_the_template_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert run("--template", "cogvideox-5b-sft-zero3", str(path)) == 0
    assert "strategy: zero3\n" in path.read_text("utf-8")


def test_a_dash_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-") == 0
    assert capsys.readouterr().out == starter_text(find_starter(DEFAULT))


def test_it_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("mine")
    assert run(str(path)) == 1
    assert path.read_text() == "mine"
    assert capsys.readouterr().err == f"error: {path} already exists: use another file\n"


def test_it_never_overwrites_what_a_dangling_link_will_point_to(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.symlink_to(tmp_path / "elsewhere.yaml")
    assert run(str(path)) == 1
    assert path.is_symlink()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("cvbundle.cli.init.write_bytes", full)
    assert run(str(tmp_path / "spec.yaml")) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "no" / "spec.yaml"
    assert run(str(path)) == 1
    assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"


def test_an_unknown_template_lists_them_and_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--template", "cogvideox-3b-lora", "-") == 2
    told = capsys.readouterr().err
    assert "cogvideox-3b-lora is not a template" in told
    assert "cogvideox1.5-5b-i2v-sft" in told


def test_a_template_and_a_script_together_are_wrong_usage(tmp_path: Path) -> None:
    assert run("--template", DEFAULT, "--from", str(tmp_path / "train.sh"), "-") == 2
