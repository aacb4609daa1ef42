"""What compile makes of settings that mean the same, and of lists that are none."""

import os
from pathlib import Path

import pytest

from cvbundle.compiler.build import compile_file
from cvbundle.problems import ProblemsFound


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("optimizer.weight_decay=0.0", "optimizer.weight_decay=-0.0"),
        ("data.caption_column=prompts.txt", "data.caption_column=.//prompts.txt"),
        ("allow=[clip-fps, clip-aspect]", "allow=[clip-aspect, clip-fps, clip-aspect]"),
        ("tracking.report_to=[tensorboard, wandb]", "tracking.report_to=[wandb, tensorboard]"),
        ("lora.alpha=4", "lora.alpha=4.0"),
    ],
)
def test_two_ways_to_write_one_setting_are_one_bundle(
    one: str, other: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which trackers are installed is not what this is about.
    monkeypatch.setattr("cvbundle.compiler.build.needed_distributions", lambda *_: ())
    out = tmp_path / "bundles"
    first = compile_file(demo / "spec.yaml", out, settings=[one]).only
    second = compile_file(demo / "spec.yaml", out, settings=[other]).only
    assert second.bundle == first.bundle
    again = compile_file(
        first.bundle.folder / "config.json",
        out,
        data_root=demo / "data",
        model_path=str(demo / "model"),
    ).only
    assert again.bundle == first.bundle


def test_clips_listed_in_two_ways_are_one_bundle(own_demo: Path, tmp_path: Path) -> None:
    first = compile_file(own_demo / "spec.yaml", tmp_path / "bundles").only
    videos = own_demo / "data/videos.txt"
    videos.write_text(videos.read_text().replace("videos/", ".//videos/./"))
    assert compile_file(own_demo / "spec.yaml", tmp_path / "bundles").only.bundle == first.bundle


@pytest.mark.parametrize("beside", [False, True])
def test_captions_that_are_a_pipe_are_not_waited_for(
    beside: bool, own_demo: Path, tmp_path: Path
) -> None:
    settings = []
    path = own_demo / "data/prompts.txt"
    if beside:
        settings = ['data.caption_column="*.txt"']
        clip = (own_demo / "data/videos.txt").read_text().splitlines()[0]
        path = (own_demo / "data" / clip).with_suffix(".txt")
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(ProblemsFound) as found:
        compile_file(own_demo / "spec.yaml", tmp_path / "bundles", settings=settings)
    rules = {problem.rule for problem in found.value.problems}
    assert rules == {"caption-count" if beside else "value-range"}


def test_epochs_that_are_too_few_for_the_warmup_are_no_bundle(demo: Path, tmp_path: Path) -> None:
    settings = ["training.steps=null", "training.epochs=1", "lr_scheduler.warmup_steps=50"]
    with pytest.raises(ProblemsFound) as found:
        compile_file(demo / "spec.yaml", tmp_path / "bundles", settings=settings)
    problems = [problem for problem in found.value.problems if problem.blocks]
    assert [problem.rule for problem in problems] == ["warmup-exceeds-steps"]
    assert not (tmp_path / "bundles").exists()


def test_a_spec_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "spec.yaml")
    with pytest.raises(ProblemsFound) as found:
        compile_file(tmp_path / "spec.yaml", tmp_path / "bundles")
    assert [problem.rule for problem in found.value.problems] == ["spec-unreadable"]
