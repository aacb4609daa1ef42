"""Nothing that is printed does anything to a terminal: escapes in names and texts are shown."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import cvbundle.cli
from cvbundle.cli import main
from cvbundle.problems import printable
from cvbundle.training.progress import Reporter

ESCAPE = "\x1b[2J\x1b]0;evil\x07"


def printed(*arguments: str) -> str:
    """All that a command prints."""
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit):
        main(list(arguments))
    return output.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é日本　🐎", "plain é日本　🐎"),
        (ESCAPE, r"\x1b[2J\x1b]0;evil\x07"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x9b1m", r"\x9b1m"),
        ("abc\u202edef", r"abc\u202edef"),
        ("\udcff", r"\udcff"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_characters_may_be_kept() -> None:
    assert printable("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


@pytest.mark.parametrize("style", ["text", "json", "github"])
def test_the_names_and_captions_of_a_dataset_are_shown(style: str, tmp_path: Path) -> None:
    name = f"a{ESCAPE}"
    (tmp_path / f"{name}.mp4").write_bytes(b"text")
    (tmp_path / f"{name}.txt").write_text("")
    (tmp_path / "videos.txt").write_text(f"{name}.mp4\n\udcff.mp4\n", errors="surrogateescape")
    (tmp_path / "spec.yaml").write_text(
        "cvbundle: 1\nname: a\nmodel: {path: THUDM/CogVideoX-2b}\n"
        'data: {root: ., caption_column: "*.txt"}\ntraining: {steps: 10}\n'
    )
    output = printed("check", "--data", str(tmp_path / "spec.yaml"), "--format", style)
    assert "evil" in output or "UTF-8" in output
    assert printable(output, keep="\n\t") == output
    if style == "json":
        json.loads(output)


def test_arguments_are_shown() -> None:
    for arguments in (
        ["check", f"--{ESCAPE}"],
        ["show", ESCAPE],
        ["explain", ESCAPE],
        [ESCAPE],
        ["verify", f"{ESCAPE}\udcff"],
    ):
        output = printed(*arguments)
        assert "evil" in output
        assert printable(output, keep="\n\t") == output


def test_the_trainer_shows_and_logs_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reporter = Reporter(tmp_path, speaks=True)
    reporter.print(f"clip {ESCAPE}.mp4")
    reporter.close()
    for text in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        assert "evil" in text
        assert printable(text, keep="\n\t") == text


def test_all_output_goes_through_one_place() -> None:
    folder = Path(cvbundle.cli.__file__).parent
    direct = re.compile(r"\bclick\.(secho|echo)\b|(?<![.\w])print\(|sys\.std(out|err)\.write")
    found = {path.name for path in folder.glob("*.py") if direct.search(path.read_text("utf-8"))}
    assert found == {"_echo.py"}
