"""Detect lists of clips and images that are shifted against each other."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cvbundle.dataset.rules import NAMES_SHIFTED
from cvbundle.dataset.tables import Column
from cvbundle.problems import Problem


def shifted(clips: Column, images: Column) -> Iterator[Problem]:
    """A problem if clips are paired with other images although images of their name are listed.

    Names are only compared if most clips have an image of their name.
    """
    stems = [PurePosixPath(image).stem for image in images.texts]
    row_of = {stem: row for row, stem in enumerate(stems)}
    if len(row_of) < len(stems):
        return
    matches = [row_of.get(PurePosixPath(clip).stem) for clip in clips.texts]
    if 2 * sum(row is not None for row in matches) <= len(matches):
        return
    wrong = [(row, match) for row, match in enumerate(matches) if match not in (None, row)]
    if wrong:
        row, match = wrong[0]
        assert match is not None
        clip, image = clips.texts[row], images.texts[row] if row < len(stems) else "nothing"
        more = f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        yield NAMES_SHIFTED.problem(
            clips.place(row),
            f"{clip} is paired with {image}, but {images.texts[match]} is on line "
            f"{images.lines[match]}{more}",
            f"put {clips.name} and {images.name} in the same order",
        )
