"""What a mistyped word was probably meant to be."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that is most like a misspelt one, if one is like it."""
    # Slow to import, and only a wrong word needs it.

    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=0.6)
    return close[0] if close else None
