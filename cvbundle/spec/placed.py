"""A problem at the place of a field."""

from cvbundle.problems import Path, Problem, Rule
from cvbundle.spec.source import Document


def problem_at(
    document: Document,
    rule: Rule,
    path: Path,
    message: str,
    hint: str = "",
    replacement: str | None = None,
) -> Problem:
    """An error at a field's value; or, where it has none, at the section that it is missing in.

    The `replacement` is offered only where it can be written over the whole value.
    """
    place = document.place(path)
    if not document.has(path) or not place.whole:
        replacement = None
    return rule.problem(place, message, hint, path, replacement)
