"""Stores are listed and bundles described."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cvbundle.bundle.run_lock import RunLock
from cvbundle.comparison.description import describe
from cvbundle.comparison.listing import list_store
from cvbundle.compiler.build import Compiled, compile_file
from cvbundle.problems import UserError


def _cvbundle(*arguments: object) -> str:
    command = [sys.executable, "-m", "cvbundle.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def store(compiled: Compiled, demo: Path) -> Iterator[Path]:
    """Two bundles; one is being trained, and its metrics are being written."""
    run = compiled.bundle.folder / "runs/0001"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"status": "running", "phases": {"train": 1.5}}))
    (run / "metrics.jsonl").write_text('{"loss":0.75,"step":1}\n{"loss":0.5,"step":2}\n{"lo')
    settings = ["name=other", "training.learning_rate=1e-4"]
    compile_file(demo / "spec.yaml", compiled.bundle.folder.parent, settings=settings)
    lock = RunLock(run)
    yield compiled.bundle.folder.parent
    lock.release()


def test_each_bundle_is_a_row(store: Path, compiled: Compiled) -> None:
    first, second = list_store(store)
    assert (first.hash, first.model, first.type) == (compiled.bundle.name, "cogvideox-2b", "lora")
    assert (first.samples, first.status, first.loss) == (4, "running", 0.5)
    assert first.size > 10_000
    assert (second.name, second.status, second.loss) == ("other", "not run", None)


def test_bundles_are_filtered_by_their_settings(store: Path) -> None:
    assert [each.name for each in list_store(store, ["training.learning_rate=0.0001"])] == ["other"]
    assert len(list_store(store, ["lora.rank=1"])) == 0
    assert len(list_store(store, ["training.seed=42", "name=other"])) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training.learning_rat=1", "write training.learning_rate"),
        ("training.seed", "write a field and its value"),
        ("training.seed=[1", "write a field and its value"),
    ],
)
def test_an_invalid_filter_is_refused(store: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        list_store(store, [text])


def test_bundles_are_sorted_with_missing_values_last(store: Path) -> None:
    assert [each.loss for each in list_store(store, sort="loss", reverse=True)] == [0.5, None]
    assert list_store(store, sort="name", reverse=True)[0].name == "other"


def test_a_damaged_bundle_is_listed_as_damaged(store: Path, compiled: Compiled) -> None:
    config = compiled.bundle.folder / "config.json"
    config.chmod(0o644)
    config.write_text("{")
    assert list_store(store)[-1].status == "damaged"


def test_settings_know_whether_they_are_the_default(compiled: Compiled) -> None:
    description = describe(compiled.bundle)
    settings = {setting.name: setting for setting in description.settings}
    assert not settings["training.learning_rate"].is_default
    assert settings["training.learning_rate"].default == 2e-5
    assert settings["training.seed"].is_default
    assert settings["model.type"].is_default
    assert settings["data.caption_column"].is_default
    assert settings["optimizer.betas"].is_default
    assert description.data is not None
    assert description.memory is not None
    assert (description.data.samples, description.data.clips, description.data.skipped) == (4, 4, 0)
    assert description.memory.peak == compiled.memory.peak
    assert description.total_steps == 20


def test_unusual_settings_are_shown_first(store: Path, compiled: Compiled) -> None:
    shown = _cvbundle("show", compiled.bundle)
    order = ["not the default", "training.steps", "4 samples", "<- peak", "0001", "training.seed"]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    listed = _cvbundle("list", store, "--where", "name=other")
    assert listed.splitlines()[0].split()[:2] == ["hash", "name"]
    assert len(listed.splitlines()) == 2


def test_json_has_the_same_content(store: Path, compiled: Compiled) -> None:
    listed = json.loads(_cvbundle("list", store, "--json"))
    assert [each["loss"] for each in listed] == [0.5, None]
    shown = json.loads(_cvbundle("show", compiled.bundle, "--json"))
    assert shown["hash"] == compiled.digest
    assert shown["runs"][0]["best_loss"] == 0.5
