"""Read the lists of clips and captions in a dataset's folder.

Four layouts: two text files with one entry a line (upstream's); a table (CSV, TSV, JSON Lines,
Parquet) with a column for each; captions in text files beside the clips (`*.txt`); and, instead of
a list of clips, a pattern such as `videos/*.mp4`, which stands for the matching files, sorted.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from attrs import frozen

from cvbundle.dataset.captions import Captions, read_beside
from cvbundle.dataset.cells import checked_cell
from cvbundle.dataset.paths import not_a_file
from cvbundle.dataset.tables import Column, NoColumn, NotAFile, read_lines, read_table
from cvbundle.dataset.texts import Texts
from cvbundle.problems import UserError
from cvbundle.spec.schema import Data

LISTS = ("metadata", "caption_column", "video_column", "image_column")
"""The fields of `data` that name the lists of a dataset, or columns of a table."""
_COLUMNS = LISTS[1:]


def list_fields(data: Data) -> tuple[str, ...]:
    """The fields of `data` that name a file, not a column or a pattern."""
    if data.metadata is not None:
        return ("metadata",)
    named = ((field, getattr(data, field)) for field in LISTS)
    return tuple(field for field, name in named if name is not None and "*" not in name)


@frozen
class Lists:
    """The lists that could be read."""

    clips: Column | None
    captions: Captions | None
    images: Column | None
    refused: Mapping[str, UserError]
    """Why another one can't be used, by its field in `data`."""


def read_lists(data: Data, root: Path, without: Collection[str] = ()) -> Lists:
    """Read the lists that `data` names, but those of the fields in `without`."""
    refused: dict[str, UserError] = {}
    for field in list_fields(data):
        name = getattr(data, field)
        if field not in without and (reason := not_a_file(root / name)) is not None:
            refused[field] = NotAFile(f"{name} {reason}")
    read = _read_table if data.metadata is not None else _read_files
    columns = read(data, root, refused, without)
    clips = columns.get("video_column")
    captions: Captions | None = columns.get("caption_column")
    if data.caption_column.startswith("*") and clips is not None:
        captions = None
        if "caption_column" not in without:
            try:
                captions = read_beside(root, clips.texts, data.caption_column)
            except UserError as error:
                refused["caption_column"] = error
    return Lists(clips, captions, columns.get("image_column"), refused)


def _columns(data: Data, without: Collection[str]) -> dict[str, str]:
    """What is to be read, by the field that names it."""
    named = {field: getattr(data, field) for field in _COLUMNS if field not in without}
    if data.caption_column.startswith("*"):
        named.pop("caption_column", None)
    return {field: name for field, name in named.items() if name is not None}


def _read_table(
    data: Data, root: Path, refused: dict[str, UserError], without: Collection[str]
) -> dict[str, Column]:
    if data.metadata is None or "metadata" in refused or "metadata" in without:
        return {}
    wanted = _columns(data, without)
    while wanted:
        names = list(dict.fromkeys(wanted.values()))
        try:
            read = dict(zip(names, read_table(root / data.metadata, names), strict=True))
        except NoColumn as error:
            # The others are still read: nothing but the head was, so far.
            absent = [field for field, name in wanted.items() if name == error.column]
            refused.update(dict.fromkeys(absent, error))
            wanted = {field: name for field, name in wanted.items() if field not in absent}
        except UserError as error:
            refused["metadata"] = error
            return {}
        else:
            return {field: read[name] for field, name in wanted.items()}
    return {}


def _read_files(
    data: Data, root: Path, refused: dict[str, UserError], without: Collection[str]
) -> dict[str, Column]:
    read: dict[str, Column] = {}
    for field, name in _columns(data, without).items():
        if field in refused:
            continue
        try:
            read[field] = _matching(root, name) if "*" in name else read_lines(root / name, name)
        except UserError as error:
            refused[field] = error
    return read


def _matching(root: Path, pattern: str) -> Column:
    """The files that match a pattern, as if listed in the order of their names."""
    try:
        paths = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
    except (ValueError, NotImplementedError):
        raise UserError(f"{pattern} is not a pattern for paths below data.root") from None
    if not paths:
        raise UserError(f"{root / pattern}: no file matches")
    for path in paths:
        # A name of other bytes than UTF-8 has no spelling in a manifest.
        checked_cell(root / pattern, 1, "a file's name", path)
    return Column(root / pattern, pattern, Texts(paths), range(1, len(paths) + 1), shows_line=True)
