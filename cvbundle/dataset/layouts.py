"""Read the lists of clips and captions in a dataset's folder.

Four layouts: two text files with one entry a line (upstream's); a table (CSV, TSV, JSON Lines,
Parquet) with a column for each; captions in text files beside the clips (`*.txt`); and, instead of
a list of clips, a pattern such as `videos/*.mp4`, which stands for the matching files, sorted.
"""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from cvbundle.dataset.captions import (
    Captions,
    CaptionsBeside,
    TokenLimit,
    caption_problems,
    read_beside,
)
from cvbundle.dataset.entries import Entries, Entry
from cvbundle.dataset.paths import Finder
from cvbundle.dataset.rules import CAPTION_COUNT, CLIP_MISSING
from cvbundle.dataset.shift import shifted
from cvbundle.dataset.tables import Column, read_lines, read_table
from cvbundle.dataset.texts import Texts
from cvbundle.problems import Place, Problem, UserError
from cvbundle.spec.schema import Data

__all__ = ["Entry", "Listing", "list_entries"]


@frozen
class Listing:
    """A dataset's lists, before any clip is opened."""

    entries: Sequence[Entry]
    """The entries whose files exist, in the order of the lists."""
    problems: tuple[Problem, ...]


def list_entries(data: Data, root: Path, *, limit: TokenLimit | None = None) -> Listing:
    """Read the lists that `data` names in the folder `root`.

    A blank line in a list is an empty entry and never dropped: that would shift every caption after
    it. With a `limit`, the length of captions is checked too.

    Raises:
        UserError: a list is missing or malformed.
    """
    if not root.is_dir():
        raise UserError(
            f"data.root: {root} is not a folder: write the path of the dataset's folder"
        )
    lists = _read(data, root)
    problems = [*_length_mismatches(lists)]
    # Misaligned captions would only produce misleading problems.
    by_row = {} if problems else _caption_problems(lists, data, limit)
    finder = Finder(root)
    rows = array("Q")
    for row, clip in enumerate(lists.clips.texts):
        missing = _missing(finder, lists.clips, row, clip, "clip")
        if lists.images is not None and row < len(lists.images.texts):
            missing += _missing(finder, lists.images, row, lists.images.texts[row], "image")
        problems += missing
        problems += by_row.get(row, ())
        if not missing:
            rows.append(row)
    if lists.images is not None:
        problems += shifted(lists.clips, lists.images)
    return Listing(_entries(lists, data, rows), tuple(problems))


@frozen
class _Lists:
    clips: Column
    captions: Captions
    images: Column | None


def _read(data: Data, root: Path) -> _Lists:
    """The lists, from the sources that `data` names."""
    names = [name for name in _names(data) if not name.startswith("*")]
    if data.metadata is not None:
        columns = dict(zip(names, read_table(root / data.metadata, names), strict=True))
    else:
        columns = {
            name: _matching(root, name) if "*" in name else read_lines(root / name, name)
            for name in names
        }
    clips = columns[data.video_column]
    captions: Captions
    if data.caption_column.startswith("*"):
        captions = read_beside(root, clips.texts, data.caption_column)
    else:
        captions = columns[data.caption_column]
    images = None if data.image_column is None else columns[data.image_column]
    return _Lists(clips, captions, images)


def _names(data: Data) -> list[str]:
    names = (data.video_column, data.caption_column, data.image_column)
    return list(dict.fromkeys(name for name in names if name is not None))


def _matching(root: Path, pattern: str) -> Column:
    """The files that match a pattern, as if listed in the order of their names."""
    try:
        paths = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    except (ValueError, NotImplementedError):
        raise UserError(f"{pattern} is not a pattern for paths below data.root") from None
    if not paths:
        raise UserError(f"{root / pattern}: no file matches")
    return Column(root / pattern, pattern, Texts(paths), range(1, len(paths) + 1), shows_line=True)


def _caption_problems(
    lists: _Lists, data: Data, limit: TokenLimit | None
) -> dict[int, list[Problem]]:
    captions, clips = lists.captions, lists.clips.texts
    problems = caption_problems(captions, clips, data.caption_prefix, limit)
    if isinstance(captions, CaptionsBeside):
        # An unreadable caption is not reported as empty as well.
        problems |= {row: [problem] for row, problem in captions.problems()}
    return problems


def _entries(lists: _Lists, data: Data, rows: Sequence[int]) -> Entries:
    count = len(lists.clips.texts)
    captions = _padded(lists.captions.texts, count)
    images = None if lists.images is None else _padded(lists.images.texts, count)
    return Entries(lists.clips, captions, images, data.caption_prefix, rows)


def _padded(texts: Sequence[str], count: int) -> Sequence[str]:
    """The texts, with empty ones appended up to `count`."""
    return texts if len(texts) >= count else [*texts, *[""] * (count - len(texts))]


def _length_mismatches(lists: _Lists) -> Iterator[Problem]:
    """Problems with lists that are longer or shorter than the list of clips."""
    clips = lists.clips
    others = [("captions", lists.captions), ("images", lists.images)]
    for kind, other in others:
        if other is None or len(other.texts) == len(clips.texts):
            continue
        line = min(len(other.texts), len(clips.texts))
        longer: Captions = clips if len(clips.texts) > len(other.texts) else other
        yield CAPTION_COUNT.problem(
            longer.place(line),
            f"{len(clips.texts)} clips in {clips.name}, {len(other.texts)} {kind} in {other.name}",
            "write one line for each clip; a blank line is an empty caption",
        )


def _missing(finder: Finder, column: Column, row: int, path: str, kind: str) -> list[Problem]:
    problem = finder.problem(path, kind)
    if problem is None:
        return []
    place: Place = column.place(row)
    message, hint = problem
    message = message if path else f"line {place.line} {message}"
    return [CLIP_MISSING.problem(place, message, hint)]
