"""How a dataset's folder lists its clips and captions."""

import os
from pathlib import Path, PurePosixPath

from attrs import frozen

from cvbundle.problems import Place, Problem, Severity, UserError
from cvbundle.spec.schema import Data


@frozen(kw_only=True)
class Entry:
    """One sample as the dataset lists it."""

    number: int
    """From 1."""
    clip: str
    """Path below the root, with `/`."""
    caption: str
    image: str | None = None
    place: Place
    """Where the clip is named."""


@frozen
class Listing:
    """What a dataset's lists say, before any clip is opened."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def list_entries(data: Data, root: Path) -> Listing:
    """Read the lists that `data` names, in the folder `root`.

    A blank line inside a list is an entry that is empty, never dropped: dropping it would shift
    every caption after it.

    Raises:
        UserError: a list is missing or isn't text.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder: write where the dataset is")
    clips = _lines(root, data.video_column)
    captions = _lines(root, data.caption_column)
    problems: list[Problem] = []
    if len(clips) != len(captions):
        problems.append(_uneven(root, data, clips, captions))
        return Listing((), tuple(problems))
    entries = []
    for number, (clip, caption) in enumerate(zip(clips, captions, strict=True), 1):
        place = Place(str(root / data.video_column), number, 1, max(1, len(clip)), clip)
        problem = _path_problem(root, clip, place)
        if problem is not None:
            problems.append(problem)
            continue
        text = data.caption_prefix + caption
        if not caption.strip():
            caption_place = Place(str(root / data.caption_column), number, 1, 1, caption)
            problems.append(
                Problem(
                    "caption-empty",
                    Severity.WARNING,
                    caption_place,
                    f"the caption of {clip} is empty",
                    "write one, or allow: [caption-empty]",
                )
            )
        entries.append(Entry(number=number, clip=clip, caption=text, place=place))
    return Listing(tuple(entries), tuple(problems))


def _lines(root: Path, name: str) -> list[str]:
    try:
        text = (root / name).read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"{root / name} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{root / name} is not UTF-8 text") from None
    lines = text.replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.strip() for line in lines]


def _uneven(root: Path, data: Data, clips: list[str], captions: list[str]) -> Problem:
    longer, lines = (
        (data.video_column, clips)
        if len(clips) > len(captions)
        else (data.caption_column, captions)
    )
    line = min(len(clips), len(captions)) + 1
    text = lines[line - 1]
    return Problem(
        "caption-count",
        Severity.ERROR,
        Place(str(root / longer), line, 1, max(1, len(text)), text),
        f"{len(clips)} clips in {data.video_column}, {len(captions)} captions in "
        f"{data.caption_column}",
        "one line each; a blank line is an empty caption",
    )


def _path_problem(root: Path, clip: str, place: Place) -> Problem | None:
    path = PurePosixPath(clip)
    if not clip:
        message, hint = f"line {place.line} names no clip", "write a path below data.root"
    elif path.is_absolute() or ".." in path.parts:
        message, hint = f"{clip} leads out of the dataset", "write a path below data.root"
    else:
        target = root / path
        if not target.is_file():
            message, hint = f"{clip} is not there", "mend the list, or bring the file"
        elif not _inside(target, root):
            message, hint = f"{clip} is a link out of the dataset", "copy the file into data.root"
        else:
            return None
    return Problem("clip-missing", Severity.ERROR, place, message, hint)


def _inside(target: Path, root: Path) -> bool:
    real = os.path.realpath(root)
    return os.path.commonpath((os.path.realpath(target), real)) == real
