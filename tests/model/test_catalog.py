"""The catalog agrees with the model cards."""

import pytest

from cvbundle.model.catalog import card_like
from cvbundle.spec.tables.models import MODELS, Card


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda card: card.name)
def test_a_card_is_found_by_name_and_by_architecture(known: Card) -> None:
    assert MODELS.get(known.name) is known
    assert card_like(known.architecture) is known


def test_the_five_models_have_their_tasks_precisions_and_licences() -> None:
    said = {
        c.name: (
            c.architecture.transformer.task,
            c.precision,
            c.fps,
            c.prompt_tokens,
            c.license,
        )
        for c in MODELS.values()
    }
    own = "CogVideoX LICENSE"
    assert said == {
        "cogvideox-2b": ("t2v", "fp16", 8, 226, "Apache-2.0"),
        "cogvideox-5b": ("t2v", "bf16", 8, 226, own),
        "cogvideox-5b-i2v": ("i2v", "bf16", 8, 226, own),
        "cogvideox1.5-5b": ("t2v", "bf16", 16, 224, own),
        "cogvideox1.5-5b-i2v": ("i2v", "bf16", 16, 224, own),
    }


@pytest.mark.parametrize("known", MODELS.values(), ids=lambda card: card.name)
def test_a_model_was_trained_at_its_own_resolution(known: Card) -> None:
    size = known.resolution
    assert known.trained_at(size.height, size.width)
    assert (size.frames - 1) % known.frame_step == 0
    assert size.frames <= known.max_frames


def test_only_1_5_image_to_video_was_trained_on_other_aspect_ratios() -> None:
    flexible = MODELS.get("cogvideox1.5-5b-i2v")
    fixed = MODELS.get("cogvideox1.5-5b")
    assert flexible is not None
    assert fixed is not None
    assert flexible.trained_at(768, 1024)
    assert flexible.trained_at(1024, 768)
    assert not flexible.trained_at(768, 1376)
    assert not flexible.trained_at(752, 1360)
    assert not fixed.trained_at(768, 1024)


def test_an_abbreviated_commit_matches_its_full_hash() -> None:
    known = MODELS.get("cogvideox-2b")
    assert known is not None
    assert known.revisions[0].is_commit("1137dac" + "0" * 33)
    assert not known.revisions[0].is_commit("1137dac")
    assert not known.revisions[0].is_commit(None)
