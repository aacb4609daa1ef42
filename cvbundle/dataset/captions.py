"""The captions of a dataset, and the problems of each caption on its own."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from attrs import frozen

from cvbundle.dataset.cells import MAX_CHARACTERS
from cvbundle.dataset.rules import CAPTION_COUNT, CAPTION_DUPLICATE, CAPTION_EMPTY, CAPTION_TOO_LONG
from cvbundle.dataset.texts import Texts
from cvbundle.problems import Place, Problem, UserError

TokenCounter = Callable[[Sequence[str]], Sequence[int]]
"""The number of tokens of each text, including the end-of-sequence token."""


@frozen
class TokenLimit:
    """The longest caption that a model accepts."""

    max_tokens: int
    count: TokenCounter
    tokenizer: str = ""
    """Digest of the model's own tokenizer; empty if the count is an estimate."""

    @property
    def is_exact(self) -> bool:
        """Whether tokens are counted by the model's own tokenizer."""
        return bool(self.tokenizer)


class Captions(Protocol):
    """The captions of a dataset and their places, by row from 0."""

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
    unreadable: dict[int, str]
    """The reason, by row, for each file that can't be read."""

    def place(self, row: int) -> Place:
        """The file of a row's caption."""
        text, clip = self.texts[row], self.clips[row]
        path = self.root / caption_path(clip, self.suffix) if has_name(clip) else self.root
        return Place(str(path), 1, 1, max(1, len(text)), text)

    def problems(self) -> Iterator[tuple[int, Problem]]:
        """A problem for each unreadable caption, by row."""
        for row, reason in self.unreadable.items():
            path = caption_path(self.clips[row], self.suffix)
            message = f"the caption of {self.clips[row]}, {path}, can't be read ({reason})"
            hint = "write the caption file: an empty file is an empty caption"
            yield row, CAPTION_COUNT.problem(self.place(row), message, hint)


def has_name(clip: str) -> bool:
    """Whether a path has a last part: a blank line and `..` don't."""
    return bool(PurePosixPath(clip).name)


def caption_path(clip: str, suffix: str) -> str:
    """The path of the caption beside a clip."""
    return str(PurePosixPath(clip).with_suffix(suffix))


def read_beside(root: Path, clips: Texts, column: str) -> CaptionsBeside:
    """Read the file beside each clip; newlines in it become spaces.

    `column` is `*` followed by the suffix of the files, such as `*.txt`.

    Raises:
        UserError: it isn't.
    """
    suffix = column[1:]
    if not re.fullmatch(r"\.[^/\0]*[^/.\0]", suffix):
        raise UserError(f"{column} is no suffix of text files: write one such as *.txt")
    texts, unreadable = Texts(), dict[int, str]()
    for row, clip in enumerate(clips):
        text = ""
        try:
            if has_name(clip):
                text = _read(root / caption_path(clip, suffix))
        except _TooLong:
            unreadable[row] = f"more than {MAX_CHARACTERS:,} characters"
        except OSError as error:
            unreadable[row] = error.strerror or "no such file"
        except ValueError:
            unreadable[row] = "not UTF-8 text"
        texts.append(" ".join(text.split("\n")).strip())
    return CaptionsBeside(column, texts, clips, root, suffix, unreadable)


class _TooLong(Exception):
    """A caption is longer than what is read."""


def _read(path: Path) -> str:
    if not path.is_file() and path.exists():
        # Reading a pipe would block.
        raise OSError(None, "not a file")
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise _TooLong
    return text


def caption_problems(
    captions: Captions, clips: Sequence[str], prefix: str, limit: TokenLimit | None
) -> dict[int, list[Problem]]:
    """The problems of captions, by row: empty, duplicate or too long."""
    problems: dict[int, list[Problem]] = {}
    times = Counter(hash(text) for text in captions.texts)
    first: dict[int, int] = {}
    for row, (text, clip) in enumerate(zip(captions.texts, clips, strict=False)):
        if isinstance(captions, CaptionsBeside) and not has_name(clip):
            # There is nothing that a caption could be beside; that there is no clip is a problem.
            continue
        if not text:
            problems[row] = [_empty(captions.place(row), clip)]
        elif times[key := hash(text)] > 1:
            earlier = first.setdefault(key, row)
            # One problem per text, at its second occurrence.
            if earlier != row:
                problems[row] = [_duplicate(captions.place(row), clip, clips[earlier], times[key])]
                times[key] = 0
    if limit is not None:
        for row, tokens in _over_limit(captions.texts, prefix, limit):
            if row < len(clips):
                problem = _too_long(captions.place(row), clips[row], tokens, limit)
                problems.setdefault(row, []).append(problem)
    return problems


_BATCH = 1024


def _over_limit(texts: Sequence[str], prefix: str, limit: TokenLimit) -> Iterator[tuple[int, int]]:
    """Rows whose caption exceeds the limit, each with its number of tokens."""
    batch: list[int] = []
    for row, text in enumerate(texts):
        # A token is at least one character, apart from the special token at either end.
        if not text.isascii() or len(prefix) + len(text) + 2 > limit.max_tokens:
            batch.append(row)
        if len(batch) == _BATCH or row == len(texts) - 1:
            counts = limit.count([prefix + texts[row] for row in batch])
            pairs = zip(batch, counts, strict=True)
            yield from (pair for pair in pairs if pair[1] > limit.max_tokens)
            batch = []


def _empty(place: Place, clip: str) -> Problem:
    message = f"the caption of {clip} is empty"
    hint = "write a caption, or allow: [caption-empty]"
    return CAPTION_EMPTY.problem(place, message, hint)


def _duplicate(place: Place, clip: str, earlier: str, times: int) -> Problem:
    more = f" and {times - 2} more" if times > 2 else ""
    message = f"{clip} has the same caption as {earlier}{more}"
    hint = "describe how the clips differ, or allow: [caption-duplicate]"
    return CAPTION_DUPLICATE.problem(place, message, hint)


def _too_long(place: Place, clip: str, tokens: int, limit: TokenLimit) -> Problem:
    about = "" if limit.is_exact else "about "
    note = "" if limit.is_exact else " (estimated: the model's tokenizer is not available)"
    message = (
        f"the caption of {clip} has {about}{tokens} tokens{note}, more than {limit.max_tokens}"
    )
    hint = "shorten it: the rest is cut off"
    return CAPTION_TOO_LONG.problem(place, message, hint)
