"""Count the tokens of captions: with a model's own tokenizer, or by estimate."""

from collections.abc import Sequence
from pathlib import Path

from cvbundle.dataset.captions import TokenCounter, TokenLimit


def token_limit(longest: int, model: Path | None) -> TokenLimit:
    """A limit on captions, counted by the tokenizer of the model in that folder if it is there."""
    count = None if model is None else tokenizer_of(model)
    return TokenLimit(longest, count or estimate, is_exact=count is not None)


def estimate(texts: Sequence[str]) -> list[int]:
    """About how many tokens T5 makes of each text: a rule of thumb, not a measurement.

    1.3 tokens a word, or one in 4.4 characters where words are long; the vocabulary is made for
    English, so that each character that isn't ASCII is taken for a token.
    """
    return [1 + max(round(1.3 * len(text.split())), _by_length(text)) for text in texts]


def _by_length(text: str) -> int:
    plain = len(text.encode("ascii", "ignore"))
    return round(plain / 4.4) + len(text) - plain


def tokenizer_of(model: Path) -> TokenCounter | None:
    """The tokenizer of a model in diffusers layout; None where its files are not there."""
    folder = model / "tokenizer"
    if (folder / "tokenizer.json").is_file():
        return _tokenizers(folder / "tokenizer.json")
    if (folder / "spiece.model").is_file():
        return _sentencepiece(folder / "spiece.model")
    return None


def _tokenizers(path: Path) -> TokenCounter:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    # The file may say how long texts are to become; here they are measured as they are.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(one.ids) for one in tokenizer.encode_batch(list(texts))]


def _sentencepiece(path: Path) -> TokenCounter:
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(path))
    # T5 puts an end mark behind each text; the model file itself doesn't.
    return lambda texts: [len(ids) + 1 for ids in processor.encode(list(texts))]
