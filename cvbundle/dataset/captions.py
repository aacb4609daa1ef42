"""The captions of a dataset: where they stand, and what is wrong with them by themselves."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from attrs import frozen

from cvbundle.dataset.rules import CAPTION_COUNT, CAPTION_DUPLICATE, CAPTION_EMPTY, CAPTION_TOO_LONG
from cvbundle.dataset.texts import Texts
from cvbundle.problems import Place, Problem

TokenCounter = Callable[[Sequence[str]], Sequence[int]]
"""How many tokens each text becomes, the end mark included."""


@frozen
class TokenLimit:
    """The longest caption that a model takes."""

    longest: int
    """Tokens."""
    count: TokenCounter
    tokenizer: str = ""
    """Digest of the model's own tokenizer, if that counts; empty for an estimate."""

    @property
    def is_exact(self) -> bool:
        """Whether the model's own tokenizer counts."""
        return bool(self.tokenizer)


class Captions(Protocol):
    """The captions of a dataset and where they stand, by row from 0."""

    @property
    def name(self) -> str: ...
    @property
    def texts(self) -> Sequence[str]: ...
    def place(self, row: int) -> Place: ...


@frozen
class CaptionsBeside:
    """Captions in files beside the clips: `videos/a.txt` for `videos/a.mp4`."""

    name: str
    texts: Texts
    clips: Texts
    root: Path
    suffix: str
    unread: dict[int, str]
    """Rows whose file can't be read, and why."""

    def place(self, row: int) -> Place:
        """The file of a row's caption."""
        text = self.texts[row]
        path = self.root / caption_path(self.clips[row], self.suffix)
        return Place(str(path), 1, 1, max(1, len(text)), text)

    def problems(self) -> Iterator[tuple[int, Problem]]:
        """A problem for each caption that can't be read, by row."""
        for row, reason in self.unread.items():
            path = caption_path(self.clips[row], self.suffix)
            message = f"the caption of {self.clips[row]}, {path}, can't be read ({reason})"
            hint = "write one: an empty file is an empty caption"
            yield row, CAPTION_COUNT.problem(self.place(row), message, hint)


def caption_path(clip: str, suffix: str) -> str:
    """The path of the caption beside a clip."""
    return str(PurePosixPath(clip).with_suffix(suffix))


def read_beside(root: Path, clips: Texts, column: str) -> CaptionsBeside:
    """Read the file beside each clip; line ends in it become blanks.

    `column` is `*` and the suffix of the files.
    """
    suffix = column[1:]
    texts, unread = Texts(), dict[int, str]()
    for row, clip in enumerate(clips):
        text = ""
        try:
            if PurePosixPath(clip).name:
                text = _read(root / caption_path(clip, suffix))
        except OSError as error:
            unread[row] = error.strerror or "no such file"
        except ValueError:
            unread[row] = "not UTF-8 text"
        texts.append(" ".join(text.split("\n")).strip())
    return CaptionsBeside(column, texts, clips, root, suffix, unread)


def _read(path: Path) -> str:
    if not path.is_file() and path.exists():
        # A pipe would be waited for.
        raise OSError(None, "not a file")
    return path.read_text("utf-8-sig")


def caption_problems(
    captions: Captions, clips: Sequence[str], prefix: str, limit: TokenLimit | None
) -> dict[int, list[Problem]]:
    """What is wrong with captions by themselves, by row: empty, repeated or too long."""
    found: dict[int, list[Problem]] = {}
    times = Counter(hash(text) for text in captions.texts)
    first: dict[int, int] = {}
    for row, (text, clip) in enumerate(zip(captions.texts, clips, strict=False)):
        if not text:
            found[row] = [_empty(captions.place(row), clip)]
        elif times[key := hash(text)] > 1:
            earlier = first.setdefault(key, row)
            # One complaint a text, where it stands for the second time.
            if earlier != row:
                found[row] = [_repeated(captions.place(row), clip, clips[earlier], times[key])]
                times[key] = 0
    if limit is not None:
        for row, tokens in _long(captions.texts, prefix, limit):
            if row < len(clips):
                problem = _too_long(captions.place(row), clips[row], tokens, limit)
                found.setdefault(row, []).append(problem)
    return found


_BATCH = 1024


def _long(texts: Sequence[str], prefix: str, limit: TokenLimit) -> Iterator[tuple[int, int]]:
    """Rows whose caption has too many tokens, and how many."""
    batch: list[int] = []
    for row, text in enumerate(texts):
        # A token is a character at least, besides the mark before and after a text.
        if not text.isascii() or len(prefix) + len(text) + 2 > limit.longest:
            batch.append(row)
        if len(batch) == _BATCH or row == len(texts) - 1:
            counts = limit.count([prefix + texts[row] for row in batch])
            yield from (pair for pair in zip(batch, counts, strict=True) if pair[1] > limit.longest)
            batch = []


def _empty(place: Place, clip: str) -> Problem:
    message = f"the caption of {clip} is empty"
    hint = "write one, or allow: [caption-empty]"
    return CAPTION_EMPTY.problem(place, message, hint)


def _repeated(place: Place, clip: str, earlier: str, times: int) -> Problem:
    more = f", and of {times - 2} more" if times > 2 else ""
    message = f"the caption of {clip} is also that of {earlier}{more}"
    hint = "say what sets them apart, or allow: [caption-duplicate]"
    return CAPTION_DUPLICATE.problem(place, message, hint)


def _too_long(place: Place, clip: str, tokens: int, limit: TokenLimit) -> Problem:
    about = "" if limit.is_exact else "about "
    told = "" if limit.is_exact else " (estimated: the model's tokenizer is not at hand)"
    message = f"the caption of {clip} has {about}{tokens} tokens{told}, {limit.longest} are read"
    hint = "shorten it: what is beyond is cut off"
    return CAPTION_TOO_LONG.problem(place, message, hint)
