"""A sweep is several specs in one: a grid, or a list of points."""

from typing import Any

import pytest

from cvbundle.problems import Problem
from cvbundle.spec.overrides import override
from cvbundle.spec.points import Point, points
from cvbundle.spec.text.reader import read

HEAD = """\
cvbundle: 1
name: tiny
training:
  steps: 10
  learning_rate: 2e-5
"""


def swept(section: str, *settings: str) -> tuple[Point, ...]:
    return points(override(read((HEAD + section).encode(), "spec.yaml"), settings))


def values(reported: tuple[Point, ...], section: str, name: str) -> list[Any]:
    return [point.document.data[section][name] for point in reported]  # type: ignore[index]


def problems(section: str, *settings: str) -> list[tuple[str, int, int, str]]:
    reported: tuple[Problem, ...] = swept(section, *settings)[0].document.problems
    return [(p.rule, p.place.line, p.place.column, p.hint) for p in reported]


def test_a_spec_without_a_sweep_is_a_single_point() -> None:
    (point,) = swept("")
    assert point.name == ""
    assert point.document == read(HEAD.encode(), "spec.yaml")


def test_null_means_no_sweep() -> None:
    (point,) = swept("sweep: {lora.rank: [1, 2]}", "sweep=null")
    assert "sweep" not in point.document.data


def test_a_map_of_lists_is_a_grid_with_the_last_field_changing_fastest() -> None:
    reported = swept("sweep: {training.learning_rate: [1e-5, 5e-5], lora.rank: [64, 128]}")
    assert [point.name for point in reported] == [
        "training.learning_rate=1e-05, lora.rank=64",
        "training.learning_rate=1e-05, lora.rank=128",
        "training.learning_rate=5e-05, lora.rank=64",
        "training.learning_rate=5e-05, lora.rank=128",
    ]
    assert values(reported, "training", "learning_rate") == [1e-5, 1e-5, 5e-5, 5e-5]
    assert values(reported, "lora", "rank") == [64, 128, 64, 128]


def test_a_list_of_maps_is_a_list_of_points() -> None:
    reported = swept("sweep: [{lora.rank: 64, lora.alpha: 32}, {lora.rank: 128}]")
    assert [point.name for point in reported] == ["lora.rank=64, lora.alpha=32", "lora.rank=128"]
    assert reported[1].document.data["lora"] == {"rank": 128}


def test_points_keep_the_rest_of_the_spec_and_lose_the_sweep() -> None:
    for point in swept("sweep: {lora.rank: [64, 128]}"):
        assert point.document.data["training"] == {"steps": 10, "learning_rate": 2e-5}
        assert "sweep" not in point.document.data
        assert not any(path[:1] == ("sweep",) for path in point.document.values)


def test_a_swept_value_keeps_its_place_in_the_sweep() -> None:
    _, second = swept("sweep:\n  lora.rank: [64, 128]\n")
    place = second.document.values["lora", "rank"]
    assert (place.line, place.column, place.width) == (7, 19, 3)
    assert second.document.keys["lora", "rank"].column == 3


def test_a_list_can_be_a_value() -> None:
    reported = swept("sweep: {lora.target_modules: [[to_q], [to_q, to_k]]}")
    assert values(reported, "lora", "target_modules") == [["to_q"], ["to_q", "to_k"]]
    assert reported[1].document.values["lora", "target_modules", 1].column == 46


def test_a_value_refused_while_reading_is_invalid_in_its_point() -> None:
    reported = swept("sweep: {lora.rank: [010, 8]}")
    assert [("lora", "rank") in point.document.invalid for point in reported] == [True, False]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("sweep: {lora.rnk: [1]}", ("key-unknown", 6, 9, "write lora.rank")),
        ("sweep: {rank: [1]}", ("key-unknown", 6, 9, "write lora.rank")),
        (
            "sweep: {lora: {rank: [1, 2]}}",
            ("key-unknown", 6, 9, "write the full name: lora.rank"),
        ),
        ("sweep: {lora.rank: 64}", ("value-type", 6, 20, "write [64]")),
        (
            "sweep: {lora.rank: []}",
            ("value-range", 6, 20, "write the values to try, or remove the field"),
        ),
        ("sweep: {}", ("value-range", 6, 1, "name a field, or remove sweep")),
        ("sweep: []", ("value-range", 6, 1, "name a point, or remove sweep")),
        (
            "sweep: lora.rank",
            ("value-type", 6, 1, "write {lora.rank: [64, 128]}"),
        ),
        (
            "sweep: [{lora.rank: 1}, lora.alpha]",
            ("value-type", 6, 25, "in a list, each entry is a point like {lora.rank: 64}"),
        ),
        (
            "sweep: {lora.rank: [64, 64]}",
            ("value-range", 6, 25, "remove one: both give the same bundle"),
        ),
        (
            "sweep: [{lora.rank: 1}, {lora.rank: 1}]",
            ("value-range", 6, 25, "remove one: both give the same bundle"),
        ),
        ("sweep: {allow: [[memory]]}", ("key-unknown", 6, 9, "cvbundle explain lists all fields")),
    ],
)
def test_a_problem_with_a_sweep_is_reported_at_its_place(
    section: str, expected: tuple[str, int, int, str]
) -> None:
    assert problems(section) == [expected]


def test_a_sweep_with_too_many_points_is_refused_before_they_are_made() -> None:
    many = list(range(1, 40))
    section = f"sweep: {{lora.rank: {many}, lora.alpha: {many}, training.seed: {many}}}"
    assert [rule for rule, *_ in problems(section)] == ["value-range"]
    assert len(swept(section)) == 1


def test_a_field_both_swept_and_set_on_the_command_line_is_a_problem() -> None:
    reported = problems("sweep: {lora.rank: [64, 128]}", "lora.rank=8")
    assert reported == [("value-choice", 1, 11, "remove one of the two")]


def test_a_swept_field_with_invalid_values_causes_no_other_problem() -> None:
    (point,) = swept("sweep: {training.learning_rate: 1e-4}")
    assert ("training", "learning_rate") in point.document.invalid


def test_one_and_true_are_two_values() -> None:
    assert problems("sweep: {lora.rank: [1, true]}") == []
