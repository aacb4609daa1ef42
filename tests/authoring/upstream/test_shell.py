"""A launch script is parsed as the shell would, and never run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvbundle.authoring.upstream.shell import Word, read_launches, resolved_texts
from cvbundle.problems import UserError


def arguments(script: str) -> list[str]:
    (launch,) = read_launches(script)
    return [word.text for word in launch.arguments]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("python train.py --a 1 --b two", ["--a", "1", "--b", "two"]),
        ('python train.py --a \'x  y\' --b "z \\" w"', ["--a", "x  y", "--b", 'z " w']),
        ("python train.py --a 1 \\\n  --b 2\n", ["--a", "1", "--b", "2"]),
        ("python train.py --a 1 \\\r\n  --b 2\r\n", ["--a", "1", "--b", "2"]),
        ("python train.py --a 1 # --b 2\n", ["--a", "1"]),
        ("python train.py --a x#1", ["--a", "x#1"]),
        ("python train.py --a '#1'", ["--a", "#1"]),
        ("python train.py --a x\\ y", ["--a", "x y"]),
        ("A=(--a 1)\npython train.py ${A[@]}", ["--a", "1"]),
        (
            'A=(\n  --a "b c"  # why\n\n  --d e\n)\npython train.py "${A[@]}"',
            ["--a", "b c", "--d", "e"],
        ),
        ('A=(--a 1)\nA+=(--b 2)\npython train.py "${A[@]}"', ["--a", "1", "--b", "2"]),
        ("R=/data\npython train.py --a $R/x --b ${R}", ["--a", "/data/x", "--b", "/data"]),
        ("export R='a b'\npython train.py --a \"$R\"", ["--a", "a b"]),
        ("R=1; S=$R$R; python train.py --a $S", ["--a", "11"]),
        ("R=1\npython train.py --a '$R'", ["--a", "$R"]),
        ("CUDA_VISIBLE_DEVICES=0 python train.py --a 1", ["--a", "1"]),
        ("python train.py --a 1 && echo done", ["--a", "1"]),
        ("python train.py --a 1 > log.txt", ["--a", "1"]),
        ("python train.py --a 1\necho done", ["--a", "1"]),
        ("if true; then\n  python train.py --a 1\nfi", ["--a", "1"]),
        (
            "python train.py \\\n  ### Model ###\n  --a 1 \\\n\n  ### Data ###\n  --b 2",
            ["--a", "1", "--b", "2"],
        ),
        ('A=("a(b)")\npython train.py "${A[@]}"', ["a(b)"]),
        ("python train.py --a 1 \\", ["--a", "1"]),
    ],
)
def test_arguments_are_what_the_shell_would_pass(script: str, expected: list[str]) -> None:
    assert arguments(script) == expected


@pytest.mark.parametrize(
    "value", ["$(date)", "`date`", "$UNSET", "${X:-1}", "$1", '"$(cat x)"', "${UNSET[@]}"]
)
def test_values_only_known_at_run_time_are_unresolved(value: str) -> None:
    (launch,) = read_launches(f"python train.py --a {value} --b 1")
    known, lost = resolved_texts(launch.arguments)
    assert known == ["--b", "1"]
    assert lost[0].startswith("--a ")


def test_nothing_is_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    witness = tmp_path_factory.mktemp("witness") / "ran"
    read_launches(f"X=$(touch {witness})\ntouch {witness}\npython train.py `touch {witness}` $X")
    assert not witness.exists()


def test_the_launcher_is_separate_from_the_arguments() -> None:
    (launch,) = read_launches("accelerate launch --num_processes 4 finetune/train.py --a 1")
    assert [word.text for word in launch.launcher] == [
        "accelerate",
        "launch",
        "--num_processes",
        "4",
    ]
    assert launch.program == "finetune/train.py"


def test_every_launch_is_found_in_order() -> None:
    assert [launch.program for launch in read_launches("python a.py\npython b.py\n")] == [
        "a.py",
        "b.py",
    ]


def test_an_open_quote_is_named_with_its_line() -> None:
    with pytest.raises(UserError, match="line 2: a quote is not closed"):
        read_launches('echo\npython train.py --a "x\n')


@given(st.text(alphabet="ab=-$(){}[]@'\"\\#\n\r ;.py&|<>+`\x0b", max_size=60))
def test_any_text_gives_words_or_one_sentence(text: str) -> None:
    try:
        launches = read_launches(text)
    except UserError:
        return
    assert all(isinstance(word, Word) for launch in launches for word in launch.arguments)
