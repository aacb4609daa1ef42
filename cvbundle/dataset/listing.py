"""List the entries of a dataset's folder and what is wrong with them, without opening a clip."""

import os
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from cvbundle.dataset.captions import Captions, CaptionsBeside, TokenLimit, caption_problems
from cvbundle.dataset.entries import Entries, Entry
from cvbundle.dataset.layouts import Lists, read_lists
from cvbundle.dataset.paths import Finder
from cvbundle.dataset.rules import CAPTION_COUNT, CLIP_MISSING
from cvbundle.dataset.tables import Column
from cvbundle.problems import Place, Problem, UserError
from cvbundle.spec.schema import Data


@frozen
class Listing:
    """A dataset's lists, before any clip is opened."""

    entries: Sequence[Entry]
    """The entries whose files exist, in the order of the lists."""
    problems: tuple[Problem, ...]
    refused: Mapping[str, UserError] = {}
    """Why a list can't be used, by its field in `data`; what doesn't need it is checked all the
    same, with empty captions and no images in their place."""


def list_entries(
    data: Data, root: Path, *, limit: TokenLimit | None = None, without: Collection[str] = ()
) -> Listing:
    """Read the lists that `data` names in the folder `root`.

    A blank line in a list is an empty entry and never dropped: that would shift every caption after
    it. With a `limit`, the length of captions is checked too. The lists of the fields in `without`
    are not read.
    """
    if not os.path.isdir(root):  # noqa: PTH112 (a Path raises for a name that is too long)
        return Listing((), (), {"root": UserError(f"{data.root} is not a folder")})
    lists = read_lists(data, root, without)
    if lists.clips is None:
        return Listing((), (), lists.refused)
    problems = [*_length_mismatches(lists.clips, lists)]
    # Misaligned captions would only produce misleading problems.
    by_row = {} if problems else _caption_problems(lists.clips, lists, data, limit)
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
        from cvbundle.dataset.shift import shifted

        problems += shifted(lists.clips, lists.images)
    return Listing(_entries(lists.clips, lists, data, rows), tuple(problems), lists.refused)


def _caption_problems(
    clips: Column, lists: Lists, data: Data, limit: TokenLimit | None
) -> dict[int, list[Problem]]:
    captions = lists.captions
    if captions is None:
        return {}
    problems = caption_problems(captions, clips.texts, data.caption_prefix, limit)
    if isinstance(captions, CaptionsBeside):
        # An unreadable caption is not reported as empty as well.
        problems |= {row: [problem] for row, problem in captions.problems()}
    return problems


def _entries(clips: Column, lists: Lists, data: Data, rows: Sequence[int]) -> Entries:
    count = len(clips.texts)
    captions = _padded(() if lists.captions is None else lists.captions.texts, count)
    images = None if lists.images is None else _padded(lists.images.texts, count)
    return Entries(clips, captions, images, data.caption_prefix, rows)


def _padded(texts: Sequence[str], count: int) -> Sequence[str]:
    """The texts, with empty ones appended up to `count`."""
    return texts if len(texts) >= count else [*texts, *[""] * (count - len(texts))]


def _length_mismatches(clips: Column, lists: Lists) -> Iterator[Problem]:
    """Problems with lists that are longer or shorter than the list of clips."""
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
