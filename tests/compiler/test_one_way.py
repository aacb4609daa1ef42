"""`check`, `check --data` and `compile` report the same problems of a spec, all in one go."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file
from cvbundle.compiler.check import check_file
from cvbundle.compiler.scanning import Scanning
from cvbundle.problems import Problem, ProblemsFound
from tests.dataset.clips import make_clip


def _compiled(spec: Path, settings: list[str]) -> tuple[Problem, ...]:
    try:
        return compile_file(spec, spec.parent / "bundles", settings=settings).warnings
    except ProblemsFound as error:
        return error.problems


def problems(spec: Path, *settings: str) -> list[Problem]:
    """The problems of a spec, which all three commands report; `check` those without clips."""
    set_ = list(settings)
    scanned = check_file(spec, set_, scanning=Scanning()).problems
    assert _compiled(spec, set_) == scanned
    listed = check_file(spec, set_).problems
    assert [problem for problem in scanned if problem in listed] == list(listed)
    return list(scanned)


def rules(reported: list[Problem]) -> list[str]:
    return [problem.rule for problem in reported]


def remove_clip(folder: Path) -> None:
    (folder / "data/videos/white_up.mp4").unlink()


def break_clip(folder: Path) -> None:
    (folder / "data/videos/white_up.mp4").write_text("no video")


def shorten_clip(folder: Path) -> None:
    (folder / "data/videos/white_up.mp4").write_bytes(make_clip(3))


def empty_caption(folder: Path) -> None:
    prompts = folder / "data/prompts.txt"
    prompts.write_text("\n" + prompts.read_text().split("\n", 1)[1])


def remove_prompts(folder: Path) -> None:
    (folder / "data/prompts.txt").unlink()


def empty_lists(folder: Path) -> None:
    for name in ("videos.txt", "prompts.txt"):
        (folder / "data" / name).write_text("")


Change = Callable[[Path], None]


@pytest.mark.parametrize(
    ("changes", "settings", "expected"),
    [
        ([remove_clip], ["lora.rank=0"], ["value-range", "clip-missing"]),
        ([remove_clip], ["lora.target_modules=[x]"], ["lora-target-missing", "clip-missing"]),
        ([break_clip], ["data.resolution=8x64x96"], ["frames-vae", "clip-unreadable"]),
        ([break_clip], ["data.num_workers=-1"], ["value-range", "clip-unreadable"]),
        ([break_clip], ["data.resolution=9x64"], ["value-type", "clip-unreadable"]),
        ([break_clip], ["data.bad_samples=skipp"], ["value-choice"]),
        ([shorten_clip], [], ["clip-short"]),
        ([shorten_clip], ["data.short_clips=skipp"], ["value-choice"]),
        ([shorten_clip], ["data.resolution=9x64"], ["value-type"]),
        ([remove_prompts, remove_clip], [], ["value-range", "clip-missing"]),
        ([remove_clip], ["data.caption_column=5"], ["value-type", "clip-missing"]),
        ([remove_clip], ["data.caption_column=../x"], ["value-range", "clip-missing"]),
        ([remove_clip], ["data.metadata=5"], ["value-type"]),
        ([remove_clip], ["model.path=./gone"], ["value-range", "clip-missing"]),
        ([empty_lists], [], ["clip-missing"]),
        ([empty_caption], [], ["caption-empty"]),
        ([empty_caption, remove_clip], ["allow=[caption-empty]"], ["clip-missing"]),
    ],
)
def test_every_problem_is_reported_at_once_whatever_the_command(
    own_demo: Path, changes: list[Change], settings: list[str], expected: list[str]
) -> None:
    for change in changes:
        change(own_demo)
    assert rules(problems(own_demo / "spec.yaml", *settings)) == expected


def test_problems_of_a_sweep_name_their_points_whatever_the_command(own_demo: Path) -> None:
    shorten_clip(own_demo)
    remove_prompts(own_demo)
    (own_demo / "data/other.txt").write_text("one\ntwo\nthree\n")
    sweep = "sweep={data.caption_column: [prompts.txt, other.txt], lora.rank: [0, 4]}"
    reported = problems(own_demo / "spec.yaml", sweep)
    assert [(p.rule, p.message.rpartition(" (at ")[2]) for p in reported] == [
        ("value-range", "data.caption_column=prompts.txt)"),
        ("value-range", "lora.rank=0)"),
        ("clip-short", reported[2].message),
        ("caption-count", "data.caption_column=other.txt)"),
    ]


def test_a_dataset_without_problems_leaves_the_rules_of_clips_silent(own_demo: Path) -> None:
    assert problems(own_demo / "spec.yaml") == []


def test_what_may_be_allowed_after_a_syntax_error_is_not_reported(own_demo: Path) -> None:
    """Warnings of the spec and of the dataset alike: `allow` may be in the part not read."""
    empty_caption(own_demo)
    remove_clip(own_demo)
    spec = own_demo / "spec.yaml"
    written = spec.read_text().replace("9x64x96", "13x64x96") + "optimizer: {beta3: 0.9}\n"
    written += "launch: {num_processes: 1}\n"
    spec.write_text(written)
    usual = ["frames-8n-plus-1", "optimizer-unused", "caption-empty", "clip-missing"]
    assert rules(problems(spec)) == usual
    spec.write_text(written + "tracking: ]\n")
    assert rules(problems(spec)) == ["yaml-syntax", "clip-missing"]
    spec.write_text("allow: [caption-empty]\n" + written + "tracking: ]\n")
    allowed = ["frames-8n-plus-1", "optimizer-unused", "yaml-syntax", "clip-missing"]
    assert rules(problems(spec)) == allowed


def test_a_scan_that_compile_would_repeat_is_remembered_by_check(
    own_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = own_demo / "spec.yaml"
    check_file(spec, scanning=Scanning())

    def scan(*_: object, **__: object) -> None:
        raise AssertionError("scanned again")

    monkeypatch.setattr("cvbundle.dataset.build.scan", scan)
    assert compile_file(spec, own_demo / "bundles").only.samples == 4
