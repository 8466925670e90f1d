"""Which of several names somebody may have meant who typed another."""

import difflib
from collections.abc import Sequence

_LONGEST = 40  # characters of what can be a slip; comparing takes the square of it
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # pages and word processors make others of them
_ALIKE = 0.6


def bare(word: str) -> str:
    """Return an option without its dashes, of whatever kind, in small letters."""
    return word.lstrip(_DASHES).replace("_", "-").lower()


def begins_with_dash(word: str) -> bool:
    """Return whether a word begins with a dash of any kind, and is more than dashes."""
    return word[:1] in tuple(_DASHES) and bool(word.lstrip(_DASHES))


def nearest(word: str, names: Sequence[str]) -> str | None:
    """Return the name that is most like a word, or that begins with it or has it as a part."""
    typed = bare(word)
    if not typed or len(typed) > _LONGEST:
        return None
    known = {bare(name): name for name in names}
    if typed in known:
        return known[typed]
    close = difflib.get_close_matches(typed, known, 1, _ALIKE)
    if close:
        return known[close[0]]
    parts = [n for n in known if n.startswith(typed) or typed in n.split("-")] if typed[1:] else []
    return known[min(parts, key=len)] if parts else None


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """Return "did you mean NAME? " if a name is like the word, else nothing."""
    found = nearest(word, names)
    return "" if found is None else f"did you mean {found}? "
