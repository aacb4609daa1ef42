"""Count the tokens of captions with a model's own tokenizer, or estimate them."""

from collections.abc import Sequence
from pathlib import Path

from cvbundle.dataset.captions import TokenCounter, TokenLimit
from cvbundle.files.digest import sha256_file
from cvbundle.problems import UserError


def token_limit(max_tokens: int, model: Path | None) -> TokenLimit:
    """A limit on captions, counted by the tokenizer in the folder `model` if there is one."""
    file = None if model is None else _file(model)
    if file is None:
        return TokenLimit(max_tokens, estimate)
    return TokenLimit(max_tokens, _counter(file), sha256_file(file))


def estimate(texts: Sequence[str]) -> list[int]:
    """The approximate number of T5 tokens of each text: a rule of thumb, not a measurement.

    1.3 tokens a word, or one per 4.4 characters if words are long; each non-ASCII character counts
    as a token, since the vocabulary is English.
    """
    return [1 + max(round(1.3 * len(text.split())), _by_length(text)) for text in texts]


def _by_length(text: str) -> int:
    plain = len(text.encode("ascii", "ignore"))
    return round(plain / 4.4) + len(text) - plain


def tokenizer_of(model: Path) -> TokenCounter | None:
    """The tokenizer of a model in diffusers layout; None if its files are missing."""
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
        raise UserError(f"{path} is not a tokenizer: use the model's own file") from None
    # The file may set truncation and padding; here the full length is measured.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda texts: [len(one.ids) for one in tokenizer.encode_batch(list(texts))]


def _sentencepiece(path: Path) -> TokenCounter:
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=_content(path))
    except RuntimeError:
        raise UserError(f"{path} is not a tokenizer: use the model's own file") from None
    # T5 appends an end-of-sequence token; the sentencepiece model doesn't.
    return lambda texts: [len(ids) + 1 for ids in processor.encode(list(texts))]
