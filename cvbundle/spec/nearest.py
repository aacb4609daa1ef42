"""What a mistyped word was probably meant to be."""

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like a misspelt one, if one is like it.

    `cutoff` is the least part of their letters, 0 to 1, that they must share.
    """
    # Slow to import, and only a wrong word needs it.
    import difflib

    close = difflib.get_close_matches(word.lower()[:100], list(known), n=1, cutoff=cutoff)
    return close[0] if close else None
