"""A base model is identified by its config files or the catalog, never by its path's name."""

from pathlib import Path

import pytest
from attrs import evolve

from cvbundle.model.catalog import card_of_hub_id
from cvbundle.model.config_files import architecture_data
from cvbundle.model.identify import BaseModel, identify, named
from cvbundle.problems import UserError
from cvbundle.spec.schema import Resolution
from cvbundle.spec.tables.architecture import Architecture
from cvbundle.spec.tables.models import MODELS, Card
from tests.model.folders import write_configs


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache without any model."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


def found(path: str, base: Path = Path("/"), **wanted: str | None) -> BaseModel:
    return identify(path, base, revision=wanted.get("revision"), name=wanted.get("name"))


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda card: card.name)
def test_a_hub_id_is_known_under_both_owners_and_in_any_case(known: Card) -> None:
    for hub_id in (*known.hub_ids, known.hub_ids[0].lower(), known.hub_ids[1].upper()):
        assert found(hub_id).name == known.name
        assert found(hub_id).folder is None


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda card: card.name)
def test_a_folder_is_identified_by_its_config_files(known: Card, tmp_path: Path) -> None:
    """Even where its name says another model."""
    write_configs(tmp_path / "CogVideoX-2b", known.architecture)
    model = found("CogVideoX-2b", tmp_path)
    assert model.name == known.name
    assert model.architecture == known.architecture
    assert model.folder == tmp_path / "CogVideoX-2b"


def test_a_smaller_variant_keeps_its_own_size(tmp_path: Path) -> None:
    known = MODELS["cogvideox1.5-5b"]
    transformer = evolve(
        known.architecture.transformer,
        num_layers=2,
        sample_height=4,
        sample_width=6,
        sample_frames=9,
    )
    write_configs(tmp_path / "m", evolve(known.architecture, transformer=transformer))
    model = found("m", tmp_path)
    assert model.name == "cogvideox1.5-5b"
    assert model.resolution == Resolution(9, 32, 48)


def test_a_snapshot_in_the_cache_is_read_instead_of_the_catalog(empty_cache: Path) -> None:
    commit = "a" * 40
    repository = empty_cache / "models--THUDM--CogVideoX-5b"
    transformer = evolve(MODELS["cogvideox-5b"].architecture.transformer, num_layers=3)
    write_configs(
        repository / "snapshots" / commit,
        evolve(MODELS["cogvideox-5b"].architecture, transformer=transformer),
    )
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    assert found("THUDM/CogVideoX-5b").architecture.transformer.num_layers == 3
    assert found("THUDM/CogVideoX-5b", revision=commit).architecture.transformer.num_layers == 3
    assert found("THUDM/CogVideoX-5b", revision="b" * 40).folder is None


def test_an_incomplete_download_is_ignored_for_the_catalog(empty_cache: Path) -> None:
    repository = empty_cache / "models--THUDM--CogVideoX-5b"
    (repository / "snapshots" / ("a" * 40) / "vae").mkdir(parents=True)
    model = found("THUDM/CogVideoX-5b", revision="a" * 40)
    assert model.folder is None
    assert model.name == "cogvideox-5b"


def test_a_folder_that_looks_like_a_hub_id_is_a_folder(tmp_path: Path) -> None:
    write_configs(tmp_path / "models" / "mine", MODELS["cogvideox-2b"].architecture)
    assert not found("models/mine", tmp_path).is_on_hub
    assert found("THUDM/CogVideoX-2b", tmp_path).is_on_hub


def test_an_unknown_name_is_ignored() -> None:
    """It is reported as a wrong choice; the rest is still checked against the right model."""
    assert found("THUDM/CogVideoX-5b", name="cogvideox-6b").name == "cogvideox-5b"


def test_a_revision_cannot_lead_out_of_the_cache(empty_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("a" * 40)
    for revision in (str(tmp_path / "elsewhere"), "../../../elsewhere", "/dev/zero"):
        assert found("THUDM/CogVideoX-5b", revision=revision).folder is None


def test_a_known_commit_has_its_own_sample_size() -> None:
    hub_id = "THUDM/CogVideoX1.5-5B-I2V"
    old = found(hub_id, revision="e724b279e89c204de20b66d8c09317a5d0d1b6f6")
    new = found(hub_id, revision="27f3ec31a1db84c0e42960fce258c8f7ff2b23ac")
    assert old.architecture.grid_limit == (150, 150)
    assert new.architecture.grid_limit == (48, 85)
    assert old.resolution == new.resolution == Resolution(81, 768, 1360)


def test_custom_uses_no_card(tmp_path: Path) -> None:
    write_configs(tmp_path / "m", MODELS["cogvideox-2b"].architecture)
    model = found("m", tmp_path, name="custom")
    assert (model.name, model.card) == ("custom", None)
    assert found("THUDM/CogVideoX-2b", name="custom").card is None


def test_an_unknown_hub_id_needs_a_name() -> None:
    with pytest.raises(UserError, match=r"model\.name"):
        found("someone/something")
    assert found("someone/something", name="cogvideox-5b").name == "cogvideox-5b"


@pytest.mark.parametrize("path", ["./models/5b", "~nobody-here/x", "x" * 5000, "a\0b", "a/b/c"])
def test_a_path_that_does_not_exist_is_named(path: str) -> None:
    with pytest.raises(UserError, match="neither a folder nor a hub id"):
        found(path)


def test_a_name_alone_is_looked_up_in_the_catalog() -> None:
    assert [model and model.name for model in map(named, ("cogvideox-5b", "nothing"))] == [
        "cogvideox-5b",
        None,
    ]
    assert card_of_hub_id("THUDM/CogVideoX-5b-I2V") is MODELS["cogvideox-5b-i2v"]


def test_architectures_are_plain_data() -> None:
    data = architecture_data(MODELS["cogvideox-2b"].architecture)
    assert set(data) == {"transformer", "vae", "text_encoder", "scheduler"}
    assert isinstance(MODELS["cogvideox-2b"].architecture, Architecture)
