"""`check --fix` writes what the hints offer, and nothing that wasn't shown."""

import io
import os
import stat
from pathlib import Path

import pytest

from cvbundle.cli import main
from cvbundle.compiler.fix import plan_fix

SPEC = """\
# my first LoRA
cvbundle: 1  # the format
name: tiny

model: {path: THUDM/CogVideoX-5b, revision: main}
data:
  root: clips   # on the fast disk
  resolution: 48x480x720
  fitt: crop
training: {steps: 1000, mixed_precision: "fp16", type: lara}
lora:
  target_modules:
    - to_q   # queries
    - to_vv
validation:
  steps: 250
  prompts: [A cat.]
checkpointing: {steps: 100}
"""
MENDED = (
    SPEC.replace("48x480", "49x480")
    .replace("fitt", "fit")
    .replace('"fp16"', "bf16")
    .replace("lara", "lora")
    .replace("to_vv", "to_v")
    .replace("250", "300")
)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A spec with six mistakes beside its dataset."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(b"")
    (clips / "videos.txt").write_text("a.mp4\n")
    (clips / "prompts.txt").write_text("A cat.\n")
    path = tmp_path / "spec.yaml"
    path.write_bytes(SPEC.encode())
    return path


def run(spec: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["check", str(spec), *arguments])
    return int(end.value.code or 0)


def answer(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> list[str]:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return wanted

    monkeypatch.setattr("click.confirm", confirm)
    return asked


def test_everything_that_has_one_answer_is_mended_and_the_layout_stays(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(spec, "--fix", "--yes") == 0
    assert spec.read_text() == MENDED
    assert capsys.readouterr().out == f"{spec}: no problems\n"


def test_the_changes_are_shown_before_anything_is_written(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        shown.append(capsys.readouterr().err)
        assert spec.read_text() == SPEC
        return True

    monkeypatch.setattr("click.confirm", confirm)
    assert run(spec, "--fix") == 0
    assert "\n-  resolution: 48x480x720\n" in shown[0]
    assert "\n+  resolution: 49x480x720\n" in shown[0]
    assert spec.read_text() == MENDED


def test_a_no_writes_nothing_and_reports_the_problems(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer(monkeypatch, wanted=False)
    assert run(spec, "--fix") == 1
    assert asked == [f"Write this to {spec}?"]
    assert spec.read_text() == SPEC
    assert "error[frames-vae]" in capsys.readouterr().err


def test_where_nobody_can_answer_nothing_is_written(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run(spec, "--fix") == 1
    assert spec.read_text() == SPEC
    assert "nothing is written" in capsys.readouterr().err


def test_a_second_time_there_is_nothing_to_write(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(spec, "--fix", "--yes")
    capsys.readouterr()
    assert not plan_fix(spec).changes
    assert run(spec, "--fix") == 0
    assert "no problem that can be fixed" in capsys.readouterr().err


def test_two_mistakes_in_one_value_are_both_mended(spec: Path) -> None:
    spec.write_text(SPEC.replace("48x480x720", "48x481x720"))
    assert run(spec, "--fix", "--yes") == 0
    assert spec.read_text() == MENDED


def test_a_value_from_the_command_line_is_not_written(spec: Path) -> None:
    assert run(spec, "--fix", "--yes", "--set", "data.resolution=47x480x720") == 1
    assert spec.read_text() == MENDED.replace("49x480", "48x480")


def test_lists_of_the_dataset_are_not_written(spec: Path) -> None:
    lists = spec.parent / "clips"
    (lists / "videos.txt").write_text("b.mp4\n")
    assert run(spec, "--fix", "--yes") == 1
    assert (lists / "videos.txt").read_text() == "b.mp4\n"


def test_the_values_of_a_sweep_are_mended(spec: Path) -> None:
    spec.write_text(MENDED + "sweep: {data.resolution: [48x480x720, 25x480x720]}\n")
    assert run(spec, "--fix", "--yes") == 0
    assert spec.read_text().endswith("sweep: {data.resolution: [49x480x720, 25x480x720]}\n")


@pytest.mark.parametrize(
    "encoded",
    [
        SPEC.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + SPEC.encode(),
        SPEC.rstrip("\n").encode(),
    ],
    ids=["CRLF", "BOM", "no line end"],
)
def test_line_ends_and_byte_order_mark_stay(spec: Path, encoded: bytes) -> None:
    spec.write_bytes(encoded)
    run(spec, "--fix", "--yes")
    reported = spec.read_bytes()
    assert reported.count(b"\r\n") == encoded.count(b"\r\n")
    assert reported.count(b"\n") == encoded.count(b"\n")
    assert reported.startswith(b"\xef\xbb\xbf") == encoded.startswith(b"\xef\xbb\xbf")
    assert b"49x480x720" in reported


def test_permissions_stay(spec: Path) -> None:
    spec.chmod(0o640)
    old = os.umask(0o077)
    try:
        run(spec, "--fix", "--yes")
    finally:
        os.umask(old)
    assert stat.S_IMODE(spec.stat().st_mode) == 0o640


def test_a_link_stays_a_link(spec: Path) -> None:
    link = spec.parent / "link.yaml"
    link.symlink_to(spec.name)
    assert run(link, "--fix", "--yes") == 0
    assert link.is_symlink()
    assert spec.read_text() == MENDED


def test_a_file_changed_meanwhile_is_not_overwritten(
    spec: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def confirm(text: str, **_: object) -> bool:
        spec.write_text("mine\n")
        return True

    monkeypatch.setattr("click.confirm", confirm)
    assert run(spec, "--fix") == 1
    assert spec.read_text() == "mine\n"
    assert "was changed in the meantime: nothing is written" in capsys.readouterr().err


def test_no_temporary_file_is_left(spec: Path) -> None:
    run(spec, "--fix", "--yes")
    assert {path.name for path in spec.parent.iterdir()} == {"clips", "spec.yaml"}


def test_problems_for_a_program_are_all_there_is_on_stdout(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(spec, "--fix", "--yes", "--format", "json") == 0
    assert capsys.readouterr().out == "[]\n"


def test_yes_without_fix_is_wrong_usage(spec: Path) -> None:
    assert run(spec, "--yes") == 2


def test_what_is_no_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, "--fix") == 2
    assert capsys.readouterr().err.endswith(f"{tmp_path}: not a file that can be fixed\n")
