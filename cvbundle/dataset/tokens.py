"""Count the tokens of captions: with a model's own tokenizer, or by estimate."""

from collections.abc import Sequence
from pathlib import Path

from cvbundle.dataset.captions import TokenCounter, TokenLimit
from cvbundle.digest import sha256_file
from cvbundle.problems import UserError


def token_limit(longest: int, model: Path | None) -> TokenLimit:
    """A limit on captions, counted by the tokenizer of the model in that folder if it is there."""
    file = None if model is None else _file(model)
    if file is None:
        return TokenLimit(longest, estimate)
    return TokenLimit(longest, _counter(file), sha256_file(file))


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
    file = _file(model)
    return None if file is None else _counter(file)


def _file(model: Path) -> Path | None:
    files = (model / "tokenizer" / name for name in ("tokenizer.json", "spiece.model"))
    return next((file for file in files if file.is_file()), None)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None


def _counter(file: Path) -> TokenCounter:
    return _tokenizers(file) if file.suffix == ".json" else _sentencepiece(file)


def _tokenizers(path: Path) -> TokenCounter:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(_content(path))
    except ValueError:
        raise UserError(f"{path} is not a tokenizer: bring the model's own") from None
    # The file may say how long texts are to become; here they are measured as they are.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(one.ids) for one in tokenizer.encode_batch(list(texts))]


def _sentencepiece(path: Path) -> TokenCounter:
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=_content(path))
    except RuntimeError:
        raise UserError(f"{path} is not a tokenizer: bring the model's own") from None
    # T5 puts an end mark behind each text; the model file itself doesn't.
    return lambda texts: [len(ids) + 1 for ids in processor.encode(list(texts))]
