"""`check` of a spec with a sweep: the problems of every point, each once."""

from pathlib import Path

import pytest

from cvbundle.compiler.check import check_file
from cvbundle.dataset.listing import list_entries
from cvbundle.problems import Problem

SPEC = """\
cvbundle: 1
name: tiny
model: {path: THUDM/CogVideoX-2b, revision: 3c9d823cba79e879738d89c3e72a8348ff9aa51b}
data: {root: clips}
training: {steps: 1000}
checkpointing: {steps: 100}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a dataset of one clip, which is never opened."""
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "a.mp4").write_bytes(b"")
    (clips / "videos.txt").write_text("a.mp4\n")
    (clips / "prompts.txt").write_text("A cat.\n")
    return tmp_path


def problems(folder: Path, sweep: str, *settings: str) -> tuple[Problem, ...]:
    path = folder / "spec.yaml"
    path.write_text(SPEC + sweep)
    return check_file(path, settings).problems


def test_a_sweep_of_valid_points_has_no_problems(folder: Path) -> None:
    assert problems(folder, "sweep: {lora.rank: [64, 128], training.seed: [1, 2]}\n") == ()


def test_a_problem_of_every_point_is_reported_once_and_names_none(folder: Path) -> None:
    reported = problems(folder, "sweep: {lora.rank: [64, 128]}\n", "data.resolution=48x480x720")
    assert [(p.rule, p.message.count("at lora")) for p in reported] == [("frames-vae", 0)]


def test_a_problem_of_one_value_is_reported_once_at_the_value_and_names_it(folder: Path) -> None:
    sweep = "sweep:\n  data.resolution: [48x480x720, 49x480x720]\n  lora.rank: [64, 128]\n"
    (reported,) = problems(folder, sweep)
    assert (reported.rule, reported.place.line, reported.place.column) == ("frames-vae", 8, 21)
    assert reported.message.endswith(" (at data.resolution=48x480x720)")
    assert reported.replacement == "49x480x720"


def test_a_problem_of_one_combination_names_that_point(folder: Path) -> None:
    sweep = (
        "validation: {steps: 300, prompts: [A cat.]}\n"
        "sweep: {checkpointing.steps: [100, 200], validation.steps: [300, 400]}\n"
    )
    (reported,) = problems(folder, sweep)
    assert reported.rule == "validation-interval"
    assert "(at checkpointing.steps=200, validation.steps=300)" in reported.message


def test_a_value_of_the_wrong_type_is_reported_at_its_place_in_the_sweep(folder: Path) -> None:
    (reported,) = problems(folder, 'sweep: [{lora.rank: 64}, {lora.rank: "128"}]\n')
    assert (reported.rule, reported.place.line, reported.place.column) == ("value-type", 7, 38)


def test_the_data_of_a_sweep_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        return list_entries(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("cvbundle.compiler.datasets.list_entries", counted)
    problems(folder, "sweep: {lora.rank: [1, 2, 3, 4]}\n")
    assert len(calls) == 1


def test_a_sweep_over_datasets_reads_each(folder: Path) -> None:
    (reported,) = problems(folder, "sweep: {data.root: [clips, other]}\n")
    assert reported.path == ("data", "root")
    assert (reported.place.line, reported.place.column) == (7, 28)


def test_data_that_is_invalid_in_one_point_is_still_read_in_another(folder: Path) -> None:
    (folder / "clips" / "videos.txt").write_text("gone.mp4\n")
    reported = problems(folder, "sweep: {data.root: [*nothing, data, clips]}\n")
    assert [problem.rule for problem in reported] == ["yaml-unsafe", "value-range", "clip-missing"]


def test_a_long_value_does_not_flood_the_message(folder: Path) -> None:
    long = "x" * 5000
    sweep = f"sweep: {{data.caption_prefix: [{long}, 5]}}\nallow: [frames-vae]\n"
    reported = problems(folder, sweep)
    assert {problem.rule for problem in reported} == {"value-type", "value-choice"}
    assert all(len(problem.message) < 300 for problem in reported)
