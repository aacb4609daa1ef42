"""Captions are measured with the model's tokenizer."""

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import Tokenizer

from cvbundle.dataset.tokens import estimate, token_limit, tokenizer_of
from cvbundle.problems import UserError

WORDS = ["▁a", "▁horse", "▁runs", "▁", "a", "h", "o", "r", "s", "e", "u", "n"]


@pytest.fixture
def fast(tmp_path: Path) -> Path:
    """A model folder with a tokenizer.json that truncates and pads, as on the hub."""
    folder = tmp_path / "fast"
    (folder / "tokenizer").mkdir(parents=True)
    vocabulary = [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], *([word, -1.0] for word in WORDS)]
    data: dict[str, object] = {
        "version": "1.0",
        "truncation": {
            "direction": "Right",
            "max_length": 3,
            "strategy": "LongestFirst",
            "stride": 0,
        },
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }
    (folder / "tokenizer" / "tokenizer.json").write_text(json.dumps(data))
    return folder


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A model folder with a sentencepiece model only."""
    folder = tmp_path / "slow" / "tokenizer"
    folder.mkdir(parents=True)
    (tmp_path / "text").write_text("a horse runs\nhorses run\nrun, horse\n" * 20)
    SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(folder / "spiece"),
        vocab_size=15,
        minloglevel=2,
    )
    return folder.parent


def test_the_models_own_tokenizer_counts_without_cutting_or_padding(fast: Path) -> None:
    count = tokenizer_of(fast)
    assert count is not None
    assert count(["a horse runs", "a", ""]) == [4, 2, 1]
    cut = Tokenizer.from_file(str(fast / "tokenizer" / "tokenizer.json"))
    assert len(cut.encode("a horse runs").ids) == 9


def test_a_sentencepiece_model_counts_the_end_token(slow: Path) -> None:
    count = tokenizer_of(slow)
    assert count is not None
    processor = SentencePieceProcessor(model_file=str(slow / "tokenizer" / "spiece.model"))
    texts = ["a horse runs", ""]
    assert count(texts) == [len(processor.encode(text)) + 1 for text in texts]


def test_a_limit_knows_whether_it_is_exact(fast: Path, tmp_path: Path) -> None:
    assert token_limit(226, fast).is_exact
    assert not token_limit(226, None).is_exact
    assert not token_limit(226, tmp_path).is_exact


def test_an_estimate_of_prose_is_slightly_more_than_its_words() -> None:
    text = "A rider on a galloping horse, seen from the side in black and white."
    assert estimate([text]) == [1 + round(1.3 * 14)]
    assert estimate([""]) == [1]


def test_text_that_is_not_english_is_estimated_by_its_bytes() -> None:
    assert estimate(["一匹马在奔跑"])[0] >= 6


def test_a_broken_tokenizer_is_named(fast: Path) -> None:
    file = fast / "tokenizer" / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        tokenizer_of(fast)
