"""Starter specs: each is sound but for the dataset, which only the user has."""

from pathlib import Path

import pytest

from cvbundle.authoring.starters import (
    DEFAULT,
    Starter,
    all_starters,
    find_starter,
    overview,
    starter_text,
)
from cvbundle.compiler.check import check_document
from cvbundle.problems import UserError
from cvbundle.spec.overrides import override
from cvbundle.spec.tables.models import MODELS
from cvbundle.spec.tables.strategies import STRATEGIES
from cvbundle.spec.text.document import Document
from cvbundle.spec.text.reader import read

every_starter = pytest.mark.parametrize("starter", all_starters(), ids=lambda starter: starter.name)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one clip, which is never opened."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "a.mp4").write_bytes(b"")
    (folder / "videos.txt").write_text("a.mp4\n")
    (folder / "prompts.txt").write_text("A cat.\n")
    return folder


def document(starter: Starter, *settings: str) -> Document:
    return override(read(starter_text(starter).encode(), "spec.yaml"), settings)


@every_starter
def test_a_starter_has_no_problems_once_it_has_a_dataset(
    starter: Starter, dataset: Path, tmp_path: Path
) -> None:
    checked = check_document(document(starter, f"data.root={dataset}"), tmp_path)
    assert checked.problems == ()
    resolved = checked.first
    assert resolved.spec.launch.strategy == starter.strategy
    assert resolved.spec.training.type == starter.type
    assert resolved.model is not None
    assert resolved.model.name == starter.model


@every_starter
def test_a_starter_without_a_dataset_has_just_that_problem(
    starter: Starter, tmp_path: Path
) -> None:
    (problem,) = check_document(document(starter), tmp_path).problems
    assert problem.path == ("data", "root")


@every_starter
def test_a_starter_writes_the_settings_that_its_model_was_made_for(
    starter: Starter, tmp_path: Path
) -> None:
    spec = check_document(document(starter), tmp_path).first.spec
    card = MODELS[starter.model]
    assert spec.data.resolution == card.resolution
    assert spec.training.mixed_precision == card.precision


@every_starter
def test_a_starter_is_text_of_at_most_100_columns_with_no_template_left(starter: Starter) -> None:
    text = starter_text(starter)
    assert "{%" not in text
    assert "{{" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_every_model_has_a_starter_for_both_types() -> None:
    assert {(starter.model, starter.type) for starter in all_starters()} == {
        (card.name, type_) for card in MODELS.values() for type_ in ("lora", "sft")
    }


def test_no_starter_trains_all_of_a_5b_model_unshared() -> None:
    for starter in all_starters():
        if starter.type == "sft" and starter.model != "cogvideox-2b":
            assert starter.strategy not in ("single", "ddp")


def test_the_default_strategy_may_be_written() -> None:
    assert find_starter("cogvideox-2b-lora-single") == find_starter("cogvideox-2b-lora")


def test_an_unknown_template_names_the_nearest_and_all() -> None:
    with pytest.raises(UserError) as error:
        find_starter("cogvideox-2b-loar")
    assert "did you mean cogvideox-2b-lora?" in str(error.value)
    assert overview() in str(error.value)


def test_the_default_is_a_starter() -> None:
    assert find_starter(DEFAULT).name == DEFAULT


@every_starter
def test_a_starter_names_the_host_memory_of_a_strategy_that_offloads(starter: Starter) -> None:
    offloads = STRATEGIES[starter.strategy].offloads
    assert ("Host memory: " in starter_text(starter)) == offloads
