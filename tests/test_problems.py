"""A problem reads the same in a terminal, for a program and in a pull request."""

import json

from attrs import evolve

from cvbundle.problems import (
    Place,
    Problem,
    ProblemsFound,
    Severity,
    dotted,
    render_github,
    render_json,
    render_text,
)

PROBLEM = Problem(
    "frames-vae",
    Severity.ERROR,
    Place("spec.yaml", 14, 15, 10, "  resolution: 48x480x720"),
    "48 frames: (frames - 1) must be a multiple of 4",
    "write 49x480x720",
    ("data", "resolution"),
)


def test_the_text_shows_the_line_and_what_to_write() -> None:
    assert render_text(PROBLEM) == (
        "spec.yaml:14:15: error[frames-vae]: 48 frames: (frames - 1) must be a multiple of 4\n"
        "   14 |   resolution: 48x480x720\n"
        "      |               ^^^^^^^^^^ write 49x480x720"
    )


def test_a_waivable_problem_is_an_error_and_a_warning_is_none() -> None:
    waivable = evolve(PROBLEM, severity=Severity.WAIVABLE)
    warning = evolve(PROBLEM, severity=Severity.WARNING)
    assert "error[" in render_text(waivable)
    assert "warning[" in render_text(warning)
    assert waivable.blocks
    assert not warning.blocks


def test_without_a_line_the_hint_stands_alone() -> None:
    bare = evolve(PROBLEM, place=Place("spec.yaml", 1, 1))
    assert render_text(bare).splitlines()[1:] == ["    write 49x480x720"]
    assert len(render_text(evolve(bare, hint="")).splitlines()) == 1


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "x" * 100_000 + "here" + "y" * 100_000
    shown = render_text(evolve(PROBLEM, place=Place("s", 1, 100_001, 4, text)))
    _, line, marks = shown.splitlines()
    assert len(line) < 200
    assert line[marks.index("^") : marks.index("^") + 4] == "here"


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    nasty = evolve(
        PROBLEM,
        message="\x1b[2J",
        hint="a\nb",
        place=Place("s", 1, 1, 3, "\x1b]0;x\x07 \u202e"),
    )
    shown = render_text(nasty)
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert len(shown.splitlines()) == 3


def test_the_json_has_the_fields_of_the_design() -> None:
    (found,) = json.loads(render_json([PROBLEM]))
    assert found == {
        "file": "spec.yaml",
        "line": 14,
        "column": 15,
        "path": "data.resolution",
        "rule": "frames-vae",
        "severity": "error",
        "message": "48 frames: (frames - 1) must be a multiple of 4",
        "hint": "write 49x480x720",
    }


def test_the_annotation_is_one_line_whatever_the_text() -> None:
    odd = evolve(PROBLEM, message="50%\nof: it", place=Place("a,b:c", 1, 2, 3))
    assert render_github(odd) == (
        "::error file=a%2Cb%3Ac,line=1,col=2,endColumn=4,title=frames-vae"
        "::50%25%0Aof: it: write 49x480x720"
    )


def test_a_path_reads_as_a_person_writes_it() -> None:
    assert dotted(("lora", "target_modules", 1)) == "lora.target_modules[1]"
    assert dotted(()) == ""


def test_found_problems_are_carried_in_order() -> None:
    other = evolve(PROBLEM, rule="memory")
    assert ProblemsFound(iter([PROBLEM, other])).problems == (PROBLEM, other)
