"""The package's description for an index of packages: README.md without links into the repository.

An index shows the description alone, so that relative links and pictures would lead nowhere.
"""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n+", re.MULTILINE)
_RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)[^)]*\)")


def long_description() -> str:
    """Return the description as Markdown."""
    text = _PICTURE.sub("", README.read_text("utf-8"))
    return _RELATIVE_LINK.sub(r"\1", text)
