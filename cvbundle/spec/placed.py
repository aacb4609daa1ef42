"""Make a problem at the place of a field."""

from cvbundle.problems import Path, Problem, Rule
from cvbundle.spec.text.document import Document


def problem_at(
    document: Document,
    rule: Rule,
    path: Path,
    message: str,
    hint: str = "",
    replacement: str | None = None,
) -> Problem:
    """A problem at a field's value, or at its section if the field is missing.

    The `replacement` is only offered if the place covers the whole value.
    """
    place = document.place(path)
    if not document.has(path) or not place.whole:
        replacement = None
    return rule.problem(place, message, hint, path, replacement)
