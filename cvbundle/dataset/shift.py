"""Find lists that belong together and have slipped against each other."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cvbundle.dataset.rules import NAMES_SHIFTED
from cvbundle.dataset.tables import Column
from cvbundle.problems import Problem


def shifted(clips: Column, images: Column) -> Iterator[Problem]:
    """Where a clip's image has another name although an image of the clip's name is listed.

    Only where most names match up somewhere: elsewhere names mean nothing.
    """
    stems = [PurePosixPath(image).stem for image in images.texts]
    row_of = {stem: row for row, stem in enumerate(stems)}
    if len(row_of) < len(stems):
        return
    known = [row_of.get(PurePosixPath(clip).stem) for clip in clips.texts]
    if 2 * sum(row is not None for row in known) <= len(known):
        return
    wrong = [(row, found) for row, found in enumerate(known) if found not in (None, row)]
    if wrong:
        row, found = wrong[0]
        assert found is not None
        clip, image = clips.texts[row], images.texts[row] if row < len(stems) else "nothing"
        more = f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        yield NAMES_SHIFTED.problem(
            clips.place(row),
            f"{clip} goes with {image}, but {images.texts[found]} is in line "
            f"{images.lines[found]}{more}",
            f"bring {clips.name} and {images.name} into the same order",
        )
