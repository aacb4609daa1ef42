"""Find the name that a misspelt one was probably meant to be."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most similar to `word`, if one is similar enough.

    `cutoff` is the least similarity, from 0 to 1 (`difflib.SequenceMatcher.ratio`).
    """
    # Slow to import, and only needed for a misspelt name.
    import difflib

    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=cutoff)
    return close[0] if close else None
